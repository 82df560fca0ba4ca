"""Mask R-CNN of our configs has the losses and gradients of mmdet's own classes."""

import copy

import numpy as np
import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

from mmmamba.models.two_stage.assignment import DeviceRandomSampler
from mmmamba.structures.packed_masks import PackedMasks
from tests.configs.conftest import CONFIGS

THEIRS = {
    "BatchedRPNHead": "RPNHead",
    "BatchedRoIHead": "StandardRoIHead",
    "BatchedCascadeRoIHead": "CascadeRoIHead",
    "PackedFCNMaskHead": "FCNMaskHead",
    "SortedRoIExtractor": "SingleRoIExtractor",
    "DeviceMaxIoUAssigner": "MaxIoUAssigner",
    "DeviceRandomSampler": "RandomSampler",
    "NoCopyMaskRCNN": "MaskRCNN",
    "NoCopyCascadeRCNN": "CascadeRCNN",
}
GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
NARROW = {256: 16, 1024: 32}


def config(name: str = "mask_rcnn_fpn", norm_cfg: dict | None = None, **rpn: object) -> Config:
    """A few channels, a small backbone of mmdet's, and samplers that take all there is.

    So nothing is drawn.

    Args:
        norm_cfg: normalisation in the box heads of a cascade; that of the config wants a GPU.
        rpn: settings of the proposal network's training.
    """
    cfg = Config.fromfile(CONFIGS / "_base_" / "models" / f"{name}.py")
    model = cfg.model
    model.backbone = dict(type="ResNet", depth=18, base_channels=8, norm_eval=True)
    model.neck.update(in_channels=[8, 16, 32, 64])
    model.train_cfg.rpn_proposal.update(nms_pre=60, max_per_img=40)
    model.train_cfg.rpn.update(rpn)
    stages = model.train_cfg.rcnn
    for part in (model.train_cfg.rpn, *(stages if isinstance(stages, list) else [stages])):
        part.sampler.num = 10**6
    narrow(model)
    if norm_cfg is not None:
        for head in model.roi_head.bbox_head:
            head.norm_cfg = norm_cfg
    return cfg


def narrow(node: object) -> None:
    for key, value in (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    ):
        if key in (
            "in_channels",
            "out_channels",
            "feat_channels",
            "conv_out_channels",
            "fc_out_channels",
        ):
            node[key] = NARROW.get(value, value) if isinstance(value, int) else value
        elif key == "norm_cfg":
            node[key] = None
        else:
            narrow(value)


def theirs(node: object) -> object:
    """The same config with mmdet's classes."""
    if isinstance(node, dict):
        return type(node)(
            {key: theirs(value) for key, value in node.items() if key != "use_torchvision"}
        )
    if isinstance(node, list):
        return [theirs(value) for value in node]
    return THEIRS.get(node, node) if isinstance(node, str) else node


def batch(counts: list[int], masks: type) -> dict:
    """Images of several sizes with as many instances as `counts` says."""
    rng = np.random.default_rng(0)
    samples, images = [], []
    for count, (height, width) in zip(counts, [(96, 128), (70, 100), (128, 64)]):
        corner = rng.uniform(0, 40, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(8, 50, (count, 2))], axis=1).clip(
            0, 64
        )
        pixels = rng.integers(0, 2, (count, height, width), dtype=np.uint8)
        sample = DetDataSample(metainfo=dict(img_shape=(height, width), ori_shape=(height, width)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.from_numpy(rng.integers(0, 80, count)),
            masks=masks(pixels, height, width),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
        images.append(torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)))
    return dict(inputs=images, data_samples=samples)


def build(cfg: dict) -> torch.nn.Module:
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg)).train()
    for parameter in model.parameters():
        # As initialised, all scores are nearly 0.5 and all boxes anchors.
        torch.nn.init.normal_(parameter, std=0.05)
    return model


def run(
    cfg: dict, counts: list[int], masks: type, device: str = "cpu"
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    model = build(cfg).to(device)
    data = model.data_preprocessor(batch(counts, masks), True)
    # In double precision the order of a sum does not show.
    losses = model.double()(data["inputs"].double(), data["data_samples"], mode="loss")
    total, named = model.parse_losses(losses)
    total.backward()
    return (
        {name: value.item() for name, value in named.items()},
        {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
    )


@pytest.mark.parametrize("counts", [[3, 1, 7], [4, 0, 2], [0, 0, 0], [1]])
@pytest.mark.parametrize(
    ("name", "rpn"),
    [
        ("mask_rcnn_fpn", {}),
        ("mask_rcnn_fpn", dict(allowed_border=0, pos_weight=2.0)),
        ("cascade_mask_rcnn_fpn", {}),
        ("cascade_mask_rcnn_fpn", dict(norm_cfg=dict(type="BN"))),
    ],
)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_losses_and_gradients(name, rpn, counts, device):
    cfg = config(name, **rpn)
    wanted, wanted_gradients = run(theirs(cfg.model), counts, BitmapMasks, device)
    got, gradients = run(cfg.model, counts, PackedMasks, device)
    assert got == pytest.approx(wanted, rel=1e-6, abs=1e-8)
    assert gradients.keys() == wanted_gradients.keys()
    for key, value in gradients.items():
        off = (value - wanted_gradients[key]).norm() / (wanted_gradients[key].norm() + 1e-4)
        assert off < 1e-6, f"{key}: {off}"


@pytest.mark.parametrize("name", ["mask_rcnn_fpn", "cascade_mask_rcnn_fpn"])
def test_losses_in_half_precision(name):
    model = build(config(name).model)
    data = model.data_preprocessor(batch([3, 1, 7], PackedMasks), True)
    _, wanted = model.parse_losses(model(**data, mode="loss"))
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(**data, mode="loss")
    total, got = model.parse_losses(losses)
    total.backward()
    for key, value in wanted.items():
        assert got[key].item() == pytest.approx(value.item(), rel=0.1, abs=0.5)
        assert got[key].dtype == torch.float32
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    assert all(one.isfinite().all() for one in gradients)


@pytest.mark.parametrize(
    ("part", "own"), [("train_cfg.rpn.assigner", "MaxIoUAssigner"), ("rpn_head", "RPNHead")]
)
def test_mmdets_own_proposal_network_fits(part, own):
    """It tells classes apart by labels, which are those of the data here."""
    cfg = config()
    wanted, _ = run(theirs(cfg.model), [3, 1, 7], BitmapMasks)
    cfg.merge_from_dict({f"model.{part}.type": own})
    got, _ = run(cfg.model, [3, 1, 7], PackedMasks)
    assert got == pytest.approx(wanted, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("name", ["mask_rcnn_fpn", "cascade_mask_rcnn_fpn"])
def test_the_gpu_is_not_waited_for(name, device):
    """PyTorch raises an error where it waits; mmdet does for each ground truth."""
    model = build(config(name).model).to(device)
    # The first pass copies what later ones find.
    for counts, mode in (([4, 4, 4], "default"), ([1, 0, 1], "error"), ([9, 30, 5], "error")):
        data = model.data_preprocessor(batch(counts, PackedMasks), True)
        torch.cuda.set_sync_debug_mode(mode)
        try:
            losses = model(**data, mode="loss")
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert losses


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("regions", [0, 1, 128, 130])
def test_filled_up_regions_leave_no_trace_in_masks(device, regions):
    head = build(config().model).roi_head.mask_head.double().to(device)
    x = torch.randn(regions, 16, 14, 14, dtype=torch.double, device=device)
    gradients = []
    for mode in (True, False):
        logits = head.train(mode)(x)
        assert logits.shape == (regions, 80, 28, 28)
        gradients.append(
            torch.autograd.grad(logits.sin().sum(), list(head.parameters()), allow_unused=True)
        )
    for got, wanted in zip(*gradients):
        assert (got is None) == (wanted is None)
        if got is not None:
            torch.testing.assert_close(got, wanted)


def test_the_configs_hold_nothing_that_this_test_does_not_replace():
    """So that the comparison is with mmdet alone."""
    for name in ("mask_rcnn_fpn", "cascade_mask_rcnn_fpn"):
        text = str(theirs(config(name).model))
        assert not any(ours in text for ours in THEIRS)


@pytest.mark.parametrize("neg_pos_ub", [-1, 3])
def test_what_is_drawn_of_a_batch(neg_pos_ub):
    torch.manual_seed(0)
    sampler = DeviceRandomSampler(num=20, pos_fraction=0.25, neg_pos_ub=neg_pos_ub)
    gts = torch.zeros(4, 60, dtype=torch.long)
    gts[0, 10:40], gts[1, :2], gts[2], gts[3, 5:] = 1, 4, -1, -1
    draw = sampler.draw(gts)
    positive, negative = draw.positive, draw.negative
    assert positive.meant_BK.sum(1).tolist() == [5, 2, 0, 0]
    negatives = [15, 18, 0, 5] if neg_pos_ub < 0 else [15, 6, 0, 3]
    assert negative.meant_BK.sum(1).tolist() == negatives
    for image in range(4):
        for drawn, wanted in ((positive, gts[image] > 0), (negative, gts[image] == 0)):
            meant = drawn.meant_BK[image]
            chosen = drawn.index_BK[image][meant]
            assert wanted[chosen].all()
            assert len(chosen.unique()) == len(chosen)
            assert chosen.tolist() == sorted(chosen)
            assert meant.tolist() == sorted(meant.tolist(), reverse=True)


def test_every_candidate_is_drawn_equally_often():
    torch.manual_seed(0)
    gts = torch.ones(4000, 10, dtype=torch.long)
    drawn = DeviceRandomSampler(num=8, pos_fraction=0.5).draw(gts).positive
    assert drawn.meant_BK.all()
    # 1600 each, four standard deviations of a binomial on both sides.
    counts = drawn.index_BK.flatten().bincount(minlength=10)
    assert counts.min() > 1476 and counts.max() < 1724
