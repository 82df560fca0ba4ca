"""RTMDet's head in whole batches has the losses, gradients and boxes of mmdet's."""

import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.task_modules.assigners import AssignResult
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmmamba.models.yolo import batches

from .cases import (
    CLASSES,
    PADDED,
    build_head,
    check_same,
    draw_maps,
    draw_truth,
    metas,
    run_loss,
)

COUNTS = [[5, 1, 9], [0, 4, 0], [0, 0], [1], [60, 3]]


def heads(**changed: object) -> list[torch.nn.Module]:
    return [build_head("rtmdet_pafpn", kind, **changed) for kind in (None, "RTMDetSepBNHead")]


def maps_of(images: int, seed: int = 0) -> list[list[torch.Tensor]]:
    """Scores around 0, and distances of some strides, a few of them negative."""
    scores, distances = draw_maps([CLASSES, 4], images, seed)
    return [scores, [25 + 15 * level for level in distances]]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients(counts, seed):
    maps, truth = maps_of(len(counts), seed), draw_truth(counts, seed)
    ours, wanted = (run_loss(head, maps, truth) for head in heads())
    check_same(ours, wanted)
    # A single box may lie outside.
    assert ours.losses["loss_cls"] > 0 and bool(ours.losses["loss_bbox"] > 0) >= (sum(counts) > 1)


def test_boxes_outside_of_the_image_only():
    """None of the priors is inside of them."""
    maps = maps_of(2)
    truth = draw_truth([2, 2])
    truth[0].bboxes = torch.tensor([[-40.0, -40, -8, -8], [300, 300, 340, 350]])
    ours, wanted = (run_loss(head, maps, truth) for head in heads())
    check_same(ours, wanted)


def test_images_of_several_sizes():
    """Priors beyond an image's padding weigh nothing."""
    maps, truth = maps_of(3), draw_truth([4, 2, 3])
    about = metas(3)
    about[0]["pad_shape"], about[1]["pad_shape"] = (96, 96), (128, 70, 3)
    ours, wanted = (run_loss(head, maps, truth, about) for head in heads())
    check_same(ours, wanted)
    assert ours.gradients[0][0, :, :, 12:].eq(0).all()


@pytest.mark.parametrize("seed", range(4))
def test_assignment(seed):
    counts = [7, 0, 40]
    (scores, distances), truth = maps_of(3, seed), draw_truth(counts, seed)
    head, _ = heads()
    logits = batches.in_one_row(scores)
    priors = head._priors(scores, logits)
    boxes = torch.cat(
        [priors[:, :2] - batches.in_one_row(distances)[..., :2]]
        + [priors[:, :2] + batches.in_one_row(distances)[..., 2:]],
        dim=-1,
    )
    valid = torch.ones_like(logits[..., 0], dtype=torch.bool)
    padded = batches.pad_truth(truth, boxes)
    for limit in (batches.MOST_PAIRS, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batches, "MOST_PAIRS", limit)
            matched = head._assign(priors, boxes, logits, valid, padded)
        for image, gts in enumerate(truth):
            predicted = InstanceData(priors=priors, bboxes=boxes[image], scores=logits[image])
            result: AssignResult = head.assigner.assign(predicted, gts)
            positive, gt, overlaps = (part[image] for part in matched)
            assert torch.where(positive, gt + 1, 0).equal(result.gt_inds)
            assert overlaps[positive].equal(result.max_overlaps[positive])


def test_half_precision_maps_are_computed_in_full():
    """The losses are those of the same maps in float32."""
    half = [[level.bfloat16() for level in levels] for levels in maps_of(2)]
    full = [[level.float() for level in levels] for levels in half]
    truth, (head, _) = draw_truth([5, 3]), heads()
    with torch.autocast("cpu", torch.bfloat16):
        ours = run_loss(head, half, truth).losses
    wanted = run_loss(head, full, truth).losses
    for name in wanted:
        torch.testing.assert_close(ours[name], wanted[name])


def test_priors_made_in_inference_mode_serve_in_training():
    head, _ = heads()
    maps = maps_of(1)
    with torch.inference_mode():
        head.eval().predict_by_feat(*maps, batch_img_metas=metas(1))
    assert torch.isfinite(run_loss(head.train(), maps, draw_truth([3])).losses["loss_bbox"])


@pytest.mark.parametrize(
    "changed",
    [
        dict(train_cfg=dict(pos_weight=2.0)),
        dict(train_cfg=dict(allowed_border=0)),
        dict(
            train_cfg=dict(assigner=dict(iou_calculator=dict(type="BboxOverlaps2D", dtype="fp16")))
        ),
        dict(loss_bbox=dict(type="DIoULoss")),
        dict(loss_cls=dict(activated=True)),
    ],
    ids=str,
)
def test_what_it_does_not_know_goes_mmdets_way(changed):
    ours, wanted = heads(**changed)
    assert not ours._batches_losses()
    maps, truth = maps_of(2), draw_truth([3, 0])
    if "loss_cls" in changed:
        maps[0] = [level.sigmoid() for level in maps[0]]
    check_same(run_loss(ours, maps, truth), run_loss(wanted, maps, truth))


def test_masks_have_other_centres():
    maps, truth = maps_of(1), draw_truth([3])
    truth[0].masks = torch.zeros(3, *PADDED)
    ours, wanted = heads()
    check_same(run_loss(ours, maps, truth), run_loss(wanted, maps, truth))


PLAIN = dict(type="nms", iou_threshold=0.5)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        dict(score_thr=0.6),
        dict(score_thr=1.0),
        dict(nms_pre=50),
        dict(nms_pre=50, min_bbox_size=30),
        dict(min_bbox_size=-1, max_per_img=7),
        dict(nms=dict(type="soft_nms", iou_threshold=0.5), nms_pre=50),
        dict(nms=dict(PLAIN, class_agnostic=True)),
    ],
    ids=str,
)
@pytest.mark.parametrize("with_nms", [True, False])
def test_boxes(changed, rescale, with_nms):
    maps = maps_of(3)
    about = metas(3)
    about[0].update(scale_factor=(1.3, 0.7), img_shape=(100, 120, 3))
    about[2].update(scale_factor=(0.5, 0.5))
    base = dict(score_thr=0.2, nms_pre=3000, min_bbox_size=0, nms=PLAIN, max_per_img=40)
    cfg = ConfigDict(base | changed)
    found = [
        head.eval().predict_by_feat(
            *maps, batch_img_metas=about, cfg=cfg, rescale=rescale, with_nms=with_nms
        )
        for head in heads()
    ]
    check_boxes(*found)
    assert any(map(len, found[0])) == (cfg.score_thr < 1)


def check_boxes(ours: list[InstanceData], wanted: list[InstanceData]) -> None:
    for got, want in zip(ours, wanted, strict=True):
        assert set(got.keys()) == set(want.keys())
        assert got.labels.equal(want.labels) and got.scores.equal(want.scores)
        torch.testing.assert_close(got.bboxes, want.bboxes, rtol=1e-6, atol=1e-5)
