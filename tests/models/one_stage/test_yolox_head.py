"""YOLOX's head in whole batches has the losses, gradients and boxes of mmdet's."""

import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmmamba.models.one_stage import yolox_head
from mmmamba.models.yolo import batches

from .cases import CLASSES, build_head, check_same, draw_maps, draw_truth, metas, run_loss
from .test_rtmdet_head import COUNTS, PLAIN, check_boxes


def heads(**changed: object) -> list[torch.nn.Module]:
    return [build_head("yolox_pafpn", kind, **changed) for kind in (None, "YOLOXHead")]


def maps_of(images: int, seed: int = 0) -> list[list[torch.Tensor]]:
    scores, boxes, objects = draw_maps([CLASSES, 4, 1], images, seed)
    return [scores, [0.7 * level + 0.5 for level in boxes], objects]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("use_l1", [False, True])
def test_losses_and_gradients(counts, use_l1):
    """`YOLOXModeSwitchHook` sets `use_l1` late in training."""
    maps, truth = maps_of(len(counts), 1), draw_truth(counts, 1)
    results = []
    for head in heads():
        head.use_l1 = use_l1
        results.append(run_loss(head, maps, truth))
    check_same(*results)
    assert ("loss_l1" in results[0].losses) == use_l1
    assert bool(results[0].losses["loss_cls"] > 0) == any(counts)


def test_boxes_outside_of_the_image_only():
    """None of the priors is inside of them or near their centre."""
    maps, truth = maps_of(2), draw_truth([2, 2])
    truth[0].bboxes = torch.tensor([[-400.0, -400, -380, -380], [600, 600, 640, 650]])
    check_same(*(run_loss(head, maps, truth) for head in heads()))


def test_predictions_of_any_size():
    """Exponentials of background overflow; mmdet's losses do not see them."""
    maps, truth = maps_of(1), draw_truth([0])
    for level in maps[1]:
        level[:, 2:] = 100.0
    ours, wanted = (run_loss(head, maps, truth) for head in heads())
    assert torch.isfinite(ours.losses["loss_bbox"])
    for name in ("loss_cls", "loss_obj"):
        torch.testing.assert_close(ours.losses[name], wanted.losses[name])


@pytest.mark.parametrize("seed", range(4))
def test_assignment(seed):
    """The boxes are large enough to have priors of their own: of equal costs any may be taken."""
    (scores, raw, objects), truth = maps_of(3, seed), draw_truth([7, 0, 12], seed)
    for gts in truth:
        gts.bboxes += torch.tensor([-20.0, -20, 20, 20])
    head, _ = heads()
    chances = (batches.in_one_row(scores).sigmoid() * batches.in_one_row(objects).sigmoid()).sqrt()
    priors = head._priors(scores, chances)
    boxes = yolox_head._boxes_of(priors, batches.in_one_row(raw))
    padded = batches.pad_truth(truth, boxes)
    for limit in (batches.MOST_PAIRS, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batches, "MOST_PAIRS", limit)
            matched = head._assign(priors, boxes, chances, padded)
        for image, gts in enumerate(truth):
            middle = torch.cat([priors[:, :2] + 0.5 * priors[:, 2:], priors[:, 2:]], dim=1)
            predicted = InstanceData(priors=middle, bboxes=boxes[image], scores=chances[image])
            result = head.assigner.assign(predicted, gts)
            positive, gt, overlaps = (part[image] for part in matched)
            assert torch.where(positive, gt + 1, 0).equal(result.gt_inds)
            assert overlaps[positive].equal(result.max_overlaps[positive])


def test_half_precision_maps_are_computed_in_full():
    half = [[level.bfloat16() for level in levels] for levels in maps_of(2)]
    full = [[level.float() for level in levels] for levels in half]
    truth, (head, _) = draw_truth([5, 3]), heads()
    with torch.autocast("cpu", torch.bfloat16):
        ours = run_loss(head, half, truth).losses
    wanted = run_loss(head, full, truth).losses
    for name in wanted:
        torch.testing.assert_close(ours[name], wanted[name])


@pytest.mark.parametrize(
    "changed",
    [
        dict(train_cfg=dict(assigner=dict(type="SimOTAAssigner", center_radius=1.0))),
        dict(train_cfg=dict(assigner=dict(iou_calculator=dict(type="BboxOverlaps2D")))),
    ],
    ids=str,
)
def test_settings_it_knows(changed):
    ours, wanted = heads(**changed)
    assert ours._batches_losses()
    maps, truth = maps_of(2), draw_truth([3, 5])
    check_same(run_loss(ours, maps, truth), run_loss(wanted, maps, truth))


@pytest.mark.parametrize(
    "changed",
    [
        dict(loss_bbox=dict(type="IoULoss", mode="linear", reduction="sum")),
        dict(loss_bbox=dict(type="GIoULoss", reduction="sum")),
        dict(
            loss_cls=dict(
                type="CrossEntropyLoss", use_sigmoid=True, reduction="sum", class_weight=[2.0] * 7
            )
        ),
        dict(train_cfg=dict(assigner=dict(type="DynamicSoftLabelAssigner", _delete_=True))),
    ],
    ids=str,
)
def test_what_it_does_not_know_goes_mmdets_way(changed):
    ours, wanted = heads(**changed)
    assert not ours._batches_losses()
    maps, truth = maps_of(2), draw_truth([3, 0])
    check_same(run_loss(ours, maps, truth), run_loss(wanted, maps, truth))


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        dict(score_thr=0.6),
        dict(score_thr=1.0),
        dict(score_thr=0.0),
        dict(nms=dict(type="soft_nms", iou_threshold=0.5)),
        dict(nms=dict(PLAIN, class_agnostic=True)),
    ],
    ids=str,
)
@pytest.mark.parametrize("with_nms", [True, False])
def test_boxes(changed, rescale, with_nms):
    maps, about = maps_of(3), metas(3)
    about[0].update(scale_factor=(1.3, 0.7))
    cfg = ConfigDict(dict(score_thr=0.2, nms=PLAIN, max_per_img=40) | changed)
    found = [
        head.eval().predict_by_feat(
            *maps, batch_img_metas=about, cfg=cfg, rescale=rescale, with_nms=with_nms
        )
        for head in heads()
    ]
    check_boxes(*found)
    assert any(map(len, found[0])) == (cfg.score_thr < 1)


def test_a_score_that_is_the_threshold_counts():
    maps = [[torch.zeros_like(level) for level in levels] for levels in maps_of(1)]
    cfg = ConfigDict(score_thr=0.25, nms=PLAIN)
    ours, wanted = (
        head.eval().predict_by_feat(*maps, batch_img_metas=metas(1), cfg=cfg) for head in heads()
    )
    assert len(ours[0]) > 100 and len(ours[0]) == len(wanted[0])


def test_scores_of_boxes_have_gradients():
    """Pictures of what a box was found by want them."""
    maps, cfg = maps_of(1), ConfigDict(score_thr=0.2, nms=PLAIN)
    maps[0][0].requires_grad_()
    (found,) = heads()[0].eval().predict_by_feat(*maps, batch_img_metas=metas(1), cfg=cfg)
    found.scores.sum().backward()
    assert maps[0][0].grad.count_nonzero() > 0
