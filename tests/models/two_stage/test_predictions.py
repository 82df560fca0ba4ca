"""Detections of a whole batch are those that mmdet finds image by image."""

import copy

import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.layers import multiclass_nms
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

from mmmamba.models.two_stage import BatchedCascadeRoIHead, BatchedRoIHead
from mmmamba.models.two_stage.detections import select_detections
from mmmamba.models.two_stage.proposals import Proposals
from tests.models.two_stage.operators import counting
from tests.models.two_stage.test_training_step import GPU, config, theirs

NAMES = ("mask_rcnn_fpn", "cascade_mask_rcnn_fpn")
SIZES = [((160, 224), (320, 448)), ((130, 200), (97, 150)), ((160, 96), (160, 96))]
"""Sizes of each image: as the network sees it, and as its file is."""


def both_heads(
    name: str, classes: int = 5, masks: bool = True, **changes: object
) -> list[torch.nn.Module]:
    """Our region head and mmdet's with the same weights, under which classes are told apart."""
    init_default_scope("mmdet")
    cfg = config(name).model
    cfg.test_cfg.rcnn.update(dict(score_thr=0.2, max_per_img=30) | changes.pop("test_cfg", {}))
    made = []
    for model in (cfg, ConfigDict(theirs(cfg))):
        head = copy.deepcopy(model.roi_head)
        boxes = head.bbox_head if isinstance(head.bbox_head, list) else [head.bbox_head]
        for part in (*boxes, head.mask_head):
            part.num_classes = classes
        for part in boxes:
            part.update(changes)
        head.update(test_cfg=model.test_cfg.rcnn, train_cfg=model.train_cfg.rcnn)
        if not masks:
            head.mask_head = head.mask_roi_extractor = None
        torch.manual_seed(0)
        module = MODELS.build(head).eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        made.append(module)
    made[1].load_state_dict(made[0].state_dict())
    return made


def maps(batch: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(batch, 16, 160 // stride, 224 // stride, generator=generator)
        for stride in (4, 8, 16, 32, 64)
    )


def samples(batch: int) -> list[DetDataSample]:
    made = []
    for seen, original in SIZES[:batch]:
        factor = (seen[1] / original[1], seen[0] / original[0])
        meta = dict(img_shape=seen, ori_shape=original, scale_factor=factor, flip=False)
        made.append(DetDataSample(metainfo=meta))
    return made


def proposals(counts: list[int]) -> list[InstanceData]:
    """Crowded ones, so that there is something to suppress."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for count, (seen, _) in zip(counts, SIZES):
        limit = torch.tensor([seen[1], seen[0]])
        corner = (torch.rand(count, 2, generator=generator) * 8).round() * limit / 12
        boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=generator) * 90], 1)
        boxes = boxes.minimum(torch.cat([limit, limit]))
        made.append(InstanceData(bboxes=boxes, scores=torch.ones(count), labels=torch.zeros(count)))
    return made


def check(got: list[InstanceData], wanted: list[InstanceData]) -> int:
    """The same detections in the same order; how many."""
    for ours, other in zip(got, wanted, strict=True):
        assert set(ours.keys()) == set(other.keys())
        assert len(ours) == len(other)
        assert ours.labels.equal(other.labels) and ours.labels.dtype == other.labels.dtype
        torch.testing.assert_close(ours.scores, other.scores, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.bboxes, other.bboxes, rtol=1e-5, atol=1e-3)
        if "masks" in other:
            assert ours.masks.shape == other.masks.shape and ours.masks.dtype == other.masks.dtype
            # On a GPU equal but where a share is the threshold to some digits.
            most = 1e-4 * other.masks.numel() if other.masks.is_cuda else 0
            assert (ours.masks != other.masks).sum() <= most
    return sum(len(one) for one in got)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize(
    ("counts", "changes", "least"),
    [
        ([60, 40, 50], {}, 40),
        ([60, 0, 3], {}, 20),
        ([0, 0], {}, 0),
        ([40], dict(reg_class_agnostic=True), 10),
        ([60, 40, 50], dict(test_cfg=dict(mask_thr_binary=0.3, max_per_img=4)), 12),
        ([20, 20], dict(test_cfg=dict(score_thr=2.0)), 0),
    ],
    ids=["three", "one without", "none", "class-agnostic", "at most 4", "none above"],
)
def test_detections(name, rescale, counts, changes, least):
    found = []
    for head in both_heads(name, **copy.deepcopy(changes)):
        batch = samples(len(counts))
        with torch.no_grad():
            found.append(head.predict(maps(len(counts)), proposals(counts), batch, rescale))
    assert check(*found) >= least


@pytest.mark.parametrize("rescale", [True, False])
def test_detections_without_masks(rescale):
    """mmdet scales boxes before it selects them here."""
    found = []
    for head in both_heads("mask_rcnn_fpn", masks=False):
        with torch.no_grad():
            found.append(head.predict(maps(3), proposals([60, 40, 50]), samples(3), rescale))
    assert check(*found) > 40


@pytest.mark.parametrize("name", NAMES)
def test_a_suppression_that_is_not_known_goes_mmdets_way(name):
    soft = dict(nms=dict(type="soft_nms", iou_threshold=0.5, min_score=0.05))
    found = []
    for head in both_heads(name, test_cfg=soft):
        with torch.no_grad():
            found.append(head.predict(maps(2), proposals([30, 20]), samples(2), True))
    assert check(*found) > 0


@pytest.mark.parametrize("agnostic", [False, True])
def test_what_is_selected_of_a_crowd(agnostic):
    """Scores that tie among them; each image as mmdet's suppression of several classes has it."""
    generator = torch.Generator().manual_seed(0)
    batch, number, classes = 3, 300, 20
    cfg = ConfigDict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=100)
    scores = torch.rand(batch, number, classes + 1, generator=generator) ** 6
    scores = (scores * 64).round() / 64
    corner = torch.rand(batch, number, 1, 2, generator=generator) * 900
    extent = torch.rand(batch, number, 1, 2, generator=generator) * 400
    boxes = torch.cat([corner, corner + extent], dim=3)
    if not agnostic:
        boxes = boxes + torch.rand(batch, number, classes, 4, generator=generator) * 20
    there = torch.arange(number) < torch.tensor([[number], [0], [120]])
    found = select_detections(scores[..., :-1], boxes, there, cfg)
    assert found.count_B.tolist() == [100, 0, 100]
    for image, count in ((0, 100), (2, 100)):
        some = there[image]
        wanted, labels = multiclass_nms(
            boxes[image][some].flatten(1), scores[image][some], 0.05, cfg.nms, cfg.max_per_img
        )
        assert found.labels_BN[image, :count].equal(labels)
        assert found.scores_BN[image, :count].equal(wanted[:, 4])
        assert found.boxes_BN4[image, :count].equal(wanted[:, :4])


def test_half_precision():
    """Under autocast about the same is found, in float32 as in mmdet."""
    head, _ = both_heads("mask_rcnn_fpn")
    given = maps(2), proposals([60, 40]), samples(2)
    with torch.no_grad():
        wanted = head.predict(*given, True)
        with torch.autocast("cpu", torch.bfloat16):
            found = head.predict(tuple(one.bfloat16() for one in given[0]), *given[1:], True)
    for ours, exact in zip(found, wanted):
        assert abs(len(ours) - len(exact)) <= 0.2 * len(exact)
        assert ours.bboxes.dtype == ours.scores.dtype == torch.float32
        assert ours.masks.dtype == torch.bool


def test_the_configs_go_the_batched_way():
    """So that the comparisons above compare something."""
    for name, kind in zip(NAMES, (BatchedRoIHead, BatchedCascadeRoIHead)):
        head, _ = both_heads(name)
        assert type(head) is kind
        assert head._batches_results([{}]) and head._batches_losses([InstanceData(masks=[])])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_whole_detectors(name, device):
    """From images, with the proposals of both proposal networks."""
    found = []
    cfg = config(name)
    cfg.model.test_cfg.rpn.update(nms_pre=60, max_per_img=40)
    cfg.model.test_cfg.rcnn.score_thr = 0.013
    init_default_scope("mmdet")
    for model in (cfg.model, theirs(cfg.model)):
        torch.manual_seed(0)
        detector = MODELS.build(copy.deepcopy(model)).eval()
        for parameter in detector.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        detector = detector.to(device)
        images = torch.randn(3, 3, 160, 224, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            results = detector.predict(images.to(device), samples(3))
        found.append([one.pred_instances for one in results])
    assert check(*found) > 20


def count(monkeypatch, head, counts):
    """Waits and operators of a prediction."""
    given = maps(len(counts)), pad(proposals(counts)), samples(len(counts))
    with torch.no_grad():
        # The first pass copies what later ones find.
        head.predict(*given, True)
        with counting(monkeypatch) as counted:
            head.predict(*given, True)
    return counted


def pad(found: list[InstanceData]) -> Proposals:
    """As `BatchedRPNHead` hands them on."""
    boxes = torch.nn.utils.rnn.pad_sequence([one.bboxes for one in found], batch_first=True)
    number = torch.tensor([len(one) for one in found])
    return Proposals(boxes, torch.ones(boxes.shape[:2]), number)


@pytest.mark.parametrize(("name", "most"), [(NAMES[0], 110), (NAMES[1], 210)])
def test_a_prediction_is_looked_at_once(monkeypatch, name, most):
    """However many images and objects there are, but for a kernel that pastes an image's masks."""
    head, _ = both_heads(name)
    few, many = (count(monkeypatch, head, counts) for counts in ([50], [60, 0, 50]))
    for counted in (few, many):
        assert counted.reads == 0 and counted.counts["readback"] == 1
        assert counted.total <= most
    assert many.total - few.total == many.counts["paste"] - few.counts["paste"] == 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
def test_a_gpu_is_waited_for_only_by_an_event(name, device):
    """From images to masks; PyTorch raises an error where it waits for more."""
    cfg = config(name)
    cfg.model.test_cfg.rcnn.score_thr = 0.013
    init_default_scope("mmdet")
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model).eval().to(device)
    images = torch.randn(3, 3, 160, 224, device=device)
    with torch.no_grad():
        # The first pass copies what later ones find.
        detector.predict(images, samples(3))
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = detector.predict(images, samples(3))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(one.pred_instances.masks.shape[1:] == one.ori_shape for one in found)
