"""Mamba YOLO's parts beyond parity.

Any size, the way back to the image, fusing, use in other necks, the optimizer.
"""

from pathlib import Path

import pytest
import torch

import mmmamba.detection  # isort: skip  (before mmcv's operators)
from mmdet.models.losses import CIoULoss
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from mmmamba.models.yolo.assigner import NormalizedTaskAlignedAssigner
from mmmamba.models.yolo.loss import UnclampedCIoULoss, ciou

CONFIGS = Path(__file__).parents[3] / "configs"
TEST_CFG = ConfigDict(
    score_thr=0.001, nms_pre=30000, nms=dict(type="nms", iou_threshold=0.7), max_per_img=300
)
# Of the published code, and of the final paper's network; without the 16 fixed bins that the
# authors count.
PARAMETERS = {
    "t": 6_131_704,
    "b": 21_828_000,
    "l": 57_631_024,
    "t_v2": 5_442_612,
    "b_v2": 19_168_164,
    "l_v2": 49_227_952,
}


def build(scale: str) -> nn.Module:
    cfg = Config.fromfile(CONFIGS / f"mamba_yolo/mamba_yolo_{scale}_300e_coco.py")
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


@pytest.mark.parametrize("scale", PARAMETERS)
def test_sizes(scale):
    with torch.device("meta"):
        assert sum(p.numel() for p in build(scale).parameters()) == PARAMETERS[scale] - 16


def test_every_parameter_is_in_the_optimizer_and_decays_as_published():
    """The raw tensors of SS2D among them.

    167 decay (168 with the fixed bins), 71 norms and 166 biases do not.
    """
    cfg = Config.fromfile(CONFIGS / "mamba_yolo/mamba_yolo_t_300e_coco.py")
    model = build("t")
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    named = dict(model.named_parameters())
    assert decay.keys() == {id(p) for p in named.values()}
    biases = {name for name in named if "bias" in name}
    decayed = {name for name, p in named.items() if decay[id(p)]}
    assert {decay[id(named[name])] for name in decayed} == {4e-3}
    assert (
        len(decayed) == 167 and len(biases) == 166 and len(named) - len(decayed) - len(biases) == 71
    )
    for raw in ("A_logs", "Ds", "x_proj_weight", "dt_projs_weight"):
        assert f"backbone.layers.0.blocks.0.ss2d.0.{raw}" in decayed
    assert not biases & decayed


def test_starting_values():
    head, mixer = build("t").bbox_head, build("t").backbone.layers[0].blocks[0].ss2d[0]
    assert [round(float(b[-1].bias.detach()[0]), 4) for b in head.cls_preds] == [
        -11.5366,
        -10.1503,
        -8.7641,
    ]
    assert all((b[-1].bias == 1).all() for b in head.reg_preds)
    assert (
        not mixer.A_logs.any() and (mixer.Ds == 1).all() and 0.8 < mixer.dt_projs_bias.std() < 1.2
    )


def test_any_size_and_recomputation():
    """The original takes multiples of 32 only. Recomputed blocks change nothing."""
    torch.manual_seed(0)
    backbone = mmmamba.create_backbone("mamba_yolo_t")
    necks = [
        MODELS.build(dict(type="MambaYOLOPAFPN", in_channels=[64, 128, 256], with_cp=cp))
        for cp in (False, True)
    ]
    necks[1].load_state_dict(necks[0].state_dict())
    with torch.no_grad():
        maps = backbone.eval()(torch.rand(1, 3, 70, 101))
    maps = [m.requires_grad_() for m in maps]
    plain, recomputed = (neck.eval()(maps) for neck in necks)
    assert [m.shape for m in plain] == [m.shape for m in maps]
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed))
    with pytest.raises(ValueError, match="got 2 maps, wanted 3"):
        necks[0](maps[:2])


@pytest.mark.parametrize(
    ("block", "residual"), [("LSBlock", False), ("RGBlock", True), ("ODSSBlock", False)]
)
def test_blocks_after_another_neck(block, residual):
    """From a config, after mmdet's FPN."""
    init_default_scope("mmdet")
    neck = nn.Sequential(
        MODELS.build(dict(type="mmdet.FPN", in_channels=[8, 16], out_channels=8, num_outs=2)),
        MODELS.build(
            dict(type="LevelBlocks", in_channels=[8, 8], block=dict(type=block), residual=residual)
        ),
    )
    maps = neck([torch.rand(1, 8, 6, 10), torch.rand(1, 16, 3, 5)])
    assert [m.shape for m in maps] == [(1, 8, 6, 10), (1, 8, 3, 5)]


def head_with(box: list[float], classes: list[int], meta: dict, **cfg) -> InstanceData:
    """What a head of one 8-pixel level answers that sees this box at one cell.

    The box is in input pixels of a 64 x 64 image.
    """
    head = MODELS.build(
        dict(
            type="YOLODFLHead",
            num_classes=3,
            in_channels=[16],
            strides=[8],
            test_cfg=TEST_CFG | cfg,
        )
    )
    row, column = int((box[1] + box[3]) / 16), int((box[0] + box[2]) / 16)
    scores, bins = torch.full((1, 3, 8, 8), -20.0), torch.zeros(1, 4, 16, 8, 8)
    for c in classes:
        scores[0, c, row, column] = 2.0 - c
    x, y = column * 8 + 4, row * 8 + 4
    for side, distance in enumerate((x - box[0], y - box[1], box[2] - x, box[3] - y)):
        bins[0, side, int(distance / 8), row, column] = 50.0
    return head.predict_by_feat([scores], [bins.flatten(1, 2)], [meta], rescale=True)[0]


def test_boxes_find_the_way_back_to_the_image():
    """A 40 x 64 image enlarged from 20 x 32, with 12 pixels above and below.

    Beyond the image boxes are clipped.
    """
    meta = dict(scale_factor=(2.0, 2.0), pad_param=(12, 12, 0, 0), ori_shape=(20, 32))
    found = head_with([4, 20, 36, 52], [1], meta)
    torch.testing.assert_close(found.bboxes, torch.tensor([[2.0, 4.0, 18.0, 20.0]]))
    assert found.labels.tolist() == [1] and found.scores.item() == pytest.approx(0.7311, abs=1e-4)
    found = head_with([4, 4, 36, 36], [1], meta)
    torch.testing.assert_close(found.bboxes, torch.tensor([[2.0, 0.0, 18.0, 12.0]]))


def test_one_or_several_classes_of_a_cell():
    meta = dict(scale_factor=(1.0, 1.0), ori_shape=(64, 64))
    assert head_with([4, 20, 36, 52], [0, 2], meta).labels.tolist() == [0, 2]
    assert head_with([4, 20, 36, 52], [0, 2], meta, multi_label=False).labels.tolist() == [0]
    assert head_with([4, 20, 36, 52], [0, 2], meta, max_per_img=1).labels.tolist() == [0]
    assert len(head_with([4, 20, 36, 52], [], meta)) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_boxes_of_half_precision_maps_are_exact(dtype):
    """On a wide image neighbouring cells have the same coordinates in half precision.

    Also under autocast.
    """
    head = MODELS.build(dict(type="YOLODFLHead", num_classes=2, in_channels=[16], strides=[8]))
    torch.manual_seed(0)
    scores, bins = torch.randn(1, 2, 4, 512).to(dtype), torch.randn(1, 64, 4, 512).to(dtype)
    _, _, want, _ = head.decode([scores.double()], [bins.double()])
    with torch.autocast("cpu", dtype):
        _, _, got, _ = head.decode([scores], [bins])
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=1e-3)


def test_ciou_counts_the_aspect_ratio_at_any_overlap():
    """Where mmdet's leaves it out, below an IoU of one half, it is larger by just that term."""
    a, b = torch.tensor([[0.0, 0, 8, 2]]), torch.tensor([[0.0, 0, 2, 8]])
    iou, v = 4 / 28, 4 / torch.pi**2 * (torch.tensor(4.0).atan() - torch.tensor(0.25).atan()) ** 2
    aspect = v * v / (v - iou + 1)
    difference = UnclampedCIoULoss()(a, b) - CIoULoss()(a, b)
    assert difference.item() == pytest.approx(aspect.item(), rel=1e-5)
    assert ciou(a, a).item() == pytest.approx(1, abs=1e-6)


def test_assigner_prefers_the_larger_overlap_of_all_boxes():
    """The first prior, which two boxes choose, overlaps the third more.

    The third chose the other prior.
    """
    priors = torch.tensor([[8.0, 8], [9, 9]])
    predictions = InstanceData(
        priors=priors,
        bboxes=torch.tensor([[0.0, 0, 20, 20], [0, 0, 20, 19.5]]),
        scores=torch.tensor([[0.9, 1e-4], [1e-4, 0.9]]),
    )
    truth = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 16, 16], [0, 0, 16, 17], [0, 0, 20, 20]]),
        labels=torch.tensor([0, 0, 1]),
    )
    result = NormalizedTaskAlignedAssigner(topk=1).assign(predictions, truth)
    assert result.gt_inds.tolist() == [3, 3] and result.labels.tolist() == [1, 1]
    # The best prior of a box gets the largest overlap as its score.
    assert result.assign_metrics.max().item() == pytest.approx(1.0, abs=1e-5)


def test_the_head_wants_a_stride_for_each_level():
    with pytest.raises(ValueError, match="2 in_channels and 3 strides"):
        MODELS.build(dict(type="YOLODFLHead", num_classes=3, in_channels=[16, 32]))
