"""A fused model answers what the model answers, in any family and under mmdet's heads."""

from pathlib import Path

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

import mmmamba.detection  # noqa: F401  (registers the detectors)
from mmmamba.acceleration.fusing import fuse
from mmmamba.layers import DepthwiseConv
from mmmamba.models.trunks.base import MambaBackbone

CONFIGS = Path(__file__).parents[2] / "configs"
FAMILIES = {family.__name__: family for family in MambaBackbone.families()}


def settled(model: nn.Module) -> nn.Module:
    """In float64, with norms that are not those of the start."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.5, 0.5, generator=generator)
    return model.double().eval()


def check(model: nn.Module, fused: nn.Module, shape: tuple[int, ...] = (1, 3, 128, 192)) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        want, got = model(image), fused(image)
    if not torch.is_tensor(want[0]):
        want, got = ([m for maps in outputs for m in maps] for outputs in (want, got))
    for a, b in zip(got, want, strict=True):
        assert (a - b).abs().max() <= 1e-9 * b.std()


@pytest.mark.parametrize("family", FAMILIES)
def test_backbones(family: str) -> None:
    torch.manual_seed(0)
    model = settled(FAMILIES[family](**FAMILIES[family].TINY))
    check(model, fuse(model))


@pytest.mark.parametrize(
    "name",
    [
        "mamba_yolo/mamba_yolo_t_300e",
        "mamba_yolo/mamba_yolo_t_v2_300e",
        "yolo/mobilemamba_b1_rtmdet_36e",
        "yolo/mobilemamba_b1_yolox_36e",
    ],
)
def test_detectors(name: str) -> None:
    """RTMDet's levels share convolutions but not norms. MobileMamba has folds of its own."""
    cfg = Config.fromfile(CONFIGS / f"{name}_coco.py")
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = settled(MODELS.build(cfg.model))
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    fused = fuse(model)
    check(model, fused)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == norms > 0
    with pytest.raises(RuntimeError, match="fused already"):
        fuse(fused)


def test_only_norms_right_behind_a_convolution_are_folded() -> None:
    between = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    before = ConvModule(3, 4, 1, norm_cfg=dict(type="BN"), order=("norm", "conv", "act"))
    inside = nn.Sequential(DepthwiseConv(3, act=nn.functional.silu), nn.BatchNorm2d(3))
    for model in (between, before, inside):
        model = settled(model)
        fused = fuse(model)
        check(model, fused)
        assert any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())


@pytest.mark.parametrize(
    "given",
    [
        dict(order=("conv", "act", "norm")),
        dict(order=("norm", "conv", "act")),
        dict(conv_cfg=dict(type="ConvAWS")),
        dict(conv_cfg=dict(type="ConvWS")),
    ],
)
def test_norms_that_a_convolution_cannot_take_up_stay(given: dict) -> None:
    torch.manual_seed(0)
    layer = settled(ConvModule(4, 4, 3, padding=1, norm_cfg=dict(type="BN"), **given))
    image = torch.rand(1, 4, 8, 8, dtype=torch.float64)
    fused = fuse(layer)
    assert isinstance(fused.norm, nn.BatchNorm2d)
    torch.testing.assert_close(fused(image), layer(image), rtol=0, atol=1e-12)
