"""The simple feature pyramid: a level for each scale, from the last map alone."""

import pytest
import torch

from mmmamba.models.necks import SimpleFPN


def test_levels():
    neck = SimpleFPN(32, 16, num_outs=6)
    maps = [torch.randn(2, 32, 5, 7), torch.randn(2, 32, 6, 9)]
    outputs = neck(maps)
    assert [tuple(m.shape) for m in outputs] == [
        (2, 16, 24, 36),
        (2, 16, 12, 18),
        (2, 16, 6, 9),
        (2, 16, 3, 4),
        (2, 16, 2, 2),
        (2, 16, 1, 1),
    ]
    assert all(torch.equal(a, b) for a, b in zip(neck([maps[0] + 1, maps[1]]), outputs))
    sum(m.square().sum() for m in outputs).backward()
    assert [name for name, p in neck.named_parameters() if p.grad is None] == []


def test_every_level_is_normalised_over_its_channels():
    for m in SimpleFPN(8, 64)([3 + 5 * torch.randn(1, 8, 8, 8)]):
        torch.testing.assert_close(m.mean(1), torch.zeros_like(m[:, 0]), atol=1e-5, rtol=0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="num_outs of SimpleFPN is 3"):
        SimpleFPN(8, num_outs=3)
    with pytest.raises(ValueError, match="scale is 3"):
        SimpleFPN(8, scales=(3,))


def test_mmdet_and_mmseg_find_it():
    from mmdet.registry import MODELS as detection
    from mmseg.registry import MODELS as segmentation

    for registry in (detection, segmentation):
        assert isinstance(registry.build(dict(type="SimpleFPN", in_channels=8)), SimpleFPN)


def test_heads_find_its_norm():
    from mmcv.cnn import ConvModule

    conv = ConvModule(8, 16, 3, padding=1, norm_cfg=dict(type="LN2d"))
    x = conv.norm(conv.conv(torch.randn(1, 8, 5, 4)))
    torch.testing.assert_close(x.mean(1), torch.zeros_like(x[:, 0]), atol=1e-5, rtol=0)
