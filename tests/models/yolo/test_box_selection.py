"""Boxes chosen for a whole batch at once are those that mmcv leaves of each image."""

import warnings

import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmcv.ops import batched_nms
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmmamba.models.yolo import box_selection
from mmmamba.models.yolo.box_selection import select_boxes
from tests.models.one_stage.operators import Operators

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]
# In as many operators for any number of boxes, as on a GPU: with room enough, with too few places,
# and with too few that compete.
ROOM = {"enough": (1000, 700), "few places": (400, 400), "few compete": (1000, 100)}
PLAIN = dict(type="nms", iou_threshold=0.5)
METAS = [
    dict(scale_factor=(1.6, 1.5), pad_param=(7, 9, 20, 20), ori_shape=(400, 390)),
    dict(scale_factor=(0.5, 0.5), pad_param=(0, 40, 0, 0), ori_shape=(1200, 1280, 3)),
    dict(scale_factor=(1.0, 1.0), ori_shape=(640, 640)),
]


@pytest.fixture(params=["counted", *ROOM])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How much room there is for candidates at first, before anybody knows their number."""
    if request.param in ROOM:
        places, competing = ROOM[request.param]
        monkeypatch.setattr(box_selection, "PLACES", places)
        monkeypatch.setattr(box_selection, "COMPETING", competing)
        monkeypatch.setattr(box_selection, "_guesses", lambda scores: True)
    return request.param


def config(**changed) -> ConfigDict:
    return ConfigDict(
        dict(score_thr=0.3, nms_pre=300, nms=PLAIN, max_per_img=80, multi_label=True) | changed
    )


def maps(batch: int, priors: int = 200, classes: int = 5, ties: bool = False, device: str = "cpu"):
    """Scores `(B, P, C)` and crowded boxes `(B, P, 4)`, some of them partly outside.

    The second image has nothing.
    """
    generator = torch.Generator().manual_seed(batch)
    scores = torch.rand(batch, priors, classes, generator=generator)
    scores[1:2] *= 0.2
    centers = 640 * torch.rand(batch, priors // 4, 2, generator=generator).repeat(1, 4, 1)
    sides = 10 + 90 * torch.rand(batch, priors // 4, 4, generator=generator).repeat(1, 4, 1)
    sides += 8 * torch.randn(batch, priors, 4, generator=generator).clamp(-1, 1)
    boxes = torch.cat([centers - sides[..., :2], centers + sides[..., 2:]], dim=2)
    return (scores.mul(10).round().div(10) if ties else scores).to(device), boxes.to(device)


def one_by_one(scores_BPC, boxes_BP4, metas, cfg, rescale=False, with_nms=True):
    """What is promised, image by image.

    Of equal scores the first prior, and of a prior the first class, goes first.
    """
    results = []
    for scores_PC, boxes_P4, meta in zip(scores_BPC, boxes_BP4, metas):
        if not cfg.multi_label:
            best, labels = scores_PC.max(1, keepdim=True)
            scores_PC = torch.zeros_like(scores_PC).scatter(1, labels, best)
        priors, labels = (scores_PC > cfg.score_thr).nonzero(as_tuple=True)
        scores, order = scores_PC[priors, labels].sort(descending=True, stable=True)
        order = order[: cfg.nms_pre] if cfg.nms_pre > 0 else order
        found = InstanceData(
            scores=scores[: len(order)], labels=labels[order], bboxes=boxes_P4[priors[order]]
        )
        if with_nms and len(found):
            keep = batched_nms(found.bboxes.float(), found.scores.float(), found.labels, cfg.nms)[1]
            found = found[keep[: cfg.max_per_img] if cfg.max_per_img > 0 else keep]
        if rescale:
            top, _, left, _ = meta.get("pad_param", (0, 0, 0, 0))
            boxes = found.bboxes - torch.tensor([left, top] * 2).to(found.bboxes)
            boxes /= torch.tensor(meta["scale_factor"] * 2).to(boxes)
            height, width = meta["ori_shape"][:2]
            found.bboxes = torch.stack(
                [x.clamp(0, end) for x, end in zip(boxes.T, [width, height] * 2)], dim=1
            )
        results.append(found)
    return results


def check(got, wanted):
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted):
        assert set(ours.keys()) == set(theirs.keys())
        for key in ours.keys():  # noqa: SIM118  # a field is no item
            assert ours[key].dtype == theirs[key].dtype and ours[key].equal(theirs[key]), key


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "changed",
    [{}, dict(multi_label=False), dict(nms_pre=-1, max_per_img=-1), dict(score_thr=0.99)],
    ids=str,
)
@pytest.mark.parametrize("ties", [False, True])
def test_boxes_of_each_image(device, batch, changed, ties, room):
    cfg, (scores, boxes) = config(**changed), maps(batch, ties=ties, device=device)
    got = select_boxes(scores, boxes, METAS[:batch], cfg, rescale=True)
    check(got, one_by_one(scores, boxes, METAS, cfg, rescale=True))
    assert not any(map(len, got[1:2]))
    if not changed:
        # Of candidates most were suppressed, or are too many.
        assert [len(found) for found in got[::2]] == [80] * len(got[::2])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "nms",
    [
        dict(type="soft_nms", iou_threshold=0.5),
        dict(PLAIN, class_agnostic=True),
        dict(PLAIN, split_thr=50),
        None,
    ],
    ids=str,
)
def test_other_suppression_is_mmcvs(device, nms):
    cfg, (scores, boxes) = config(nms=nms), maps(3, device=device)
    check(select_boxes(scores, boxes, METAS, cfg), one_by_one(scores, boxes, METAS, cfg))


def test_without_suppression(room):
    cfg, (scores, boxes) = config(), maps(3)
    got = select_boxes(scores, boxes, METAS, cfg, with_nms=False)
    check(got, one_by_one(scores, boxes, METAS, cfg, with_nms=False))
    assert [len(found) for found in got] == [300, 0, 300]


def test_many_boxes_on_a_cpu(monkeypatch):
    """There mmcv goes class by class, which is faster and the same."""
    cfg, (scores, boxes) = config(), maps(3)
    wanted = select_boxes(scores, boxes, METAS, cfg, rescale=True)
    monkeypatch.setattr(box_selection, "SPLIT", 100)
    monkeypatch.setattr(box_selection, "grouped_nms", None)
    check(select_boxes(scores, boxes, METAS, cfg, rescale=True), wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("nms", [PLAIN, dict(type="soft_nms", iou_threshold=0.5)], ids=str)
def test_nothing_in_any_image(device, nms, room):
    cfg, (scores, boxes) = config(score_thr=2.0, nms=nms), maps(3, device=device)
    got = select_boxes(scores, boxes, METAS, cfg, rescale=True)
    assert [found.bboxes.shape for found in got] == [(0, 4)] * 3
    check(got, one_by_one(scores, boxes, METAS, cfg, rescale=True))


def test_classes_do_not_compete_and_scores_keep_their_precision():
    boxes = torch.tensor(
        [[[10.0, 10, 50, 50], [11, 10, 50, 50], [10, 11, 50, 50]]], dtype=torch.double
    )
    scores = torch.tensor([[[0.9, 0.0], [0.8, 0.7], [0.0, 0.6]]], dtype=torch.double)
    (found,) = select_boxes(scores, boxes, METAS[2:], config())
    assert found.labels.tolist() == [0, 1] and found.scores.tolist() == [0.9, 0.7]
    assert found.bboxes.equal(boxes[0, :2])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("changed", [{}, dict(max_per_img=-1), dict(multi_label=False)], ids=str)
def test_as_many_operators_for_any_boxes(monkeypatch, batch, changed):
    monkeypatch.setattr(box_selection, "_guesses", lambda scores: True)
    counts = []
    for score_thr in (0.05, 0.6, 2.0):
        cfg, (scores, boxes) = config(score_thr=score_thr, **changed), maps(batch)
        with Operators() as operators:
            select_boxes(scores, boxes, METAS[:batch], cfg, rescale=True)
        counts.append(operators.count)
    assert counts[0] == counts[1] == counts[2] and counts[0].total() <= 70
    operators.check_nothing_waits()


def test_limits_of_each_level_and_boxes_that_do_not_fit(room):
    """Those that do not fit take the places of others among the best of their level."""
    cfg, (scores, boxes) = config(nms_pre=30), maps(3)
    fit = torch.rand(3, 200) < 0.5
    levels = [120, 60, 20]
    pairs = box_selection.Pairs(scores, scores > 0.3, boxes, fit_BP=fit, levels=levels)
    got = box_selection.detect(pairs, cfg).of_images()
    first, chosen = 0, torch.zeros_like(scores)
    for size in levels:
        level = scores[:, first : first + size]
        least = level.flatten(1).topk(30, dim=1).values[:, -1]
        best = level.where(level >= least[:, None, None], 0)
        chosen[:, first : first + size] = best.where(fit[:, first : first + size, None], 0)
        first += size
    check(got, one_by_one(chosen, boxes, METAS, config(nms_pre=-1)))
    assert len(got[0]) > 30 and not len(got[1])


@pytest.mark.parametrize("device", DEVICES[1:])
def test_the_gpu_is_waited_for_once(device):
    for batch in (1, 1, 3):
        scores, boxes = maps(batch, device=device)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                select_boxes(scores, boxes, METAS[:batch], config(), rescale=True)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len([one for one in caught if "synchronizing" in str(one.message)]) == 1
