"""Effective receptive fields are those of the maps' own arithmetic."""

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from mmmamba.layers import LayerNorm
from mmmamba.visualization import (
    contribution_shares,
    draw_receptive_fields,
    effective_receptive_field,
    last_map,
    random_crops,
)


def images(count=2, size=33) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_a_convolution_s_field_is_its_kernel():
    conv = nn.Conv2d(3, 1, 5, padding=2, bias=False)
    field = effective_receptive_field(conv, images())
    want = torch.zeros(33, 33, dtype=torch.float64)
    want[14:19, 14:19] = conv.weight[0].abs().sum(0).double()
    torch.testing.assert_close(field / field.max(), want / want.max())


def test_the_field_grows_with_depth_and_stride():
    def sides(model):
        field = effective_receptive_field(model, images(1))
        return (field.sum(0) > 0).sum().item(), (field.sum(1) > 0).sum().item()

    for stride, side in ((1, 7), (2, 15)):
        layers = [nn.Conv2d(3, 3, 3, stride, padding=1) for _ in range(3)]
        assert sides(nn.Sequential(*layers)) == (side, side)


def test_a_norm_at_the_end_does_not_hide_it():
    """The sum of a LayerNorm's channels is a constant: a plain sum would have no gradient."""
    conv, norm = nn.Conv2d(3, 8, 3, padding=1), LayerNorm(8)
    field = effective_receptive_field(
        lambda x: [norm(conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)], images()
    )
    assert field[15:18, 15:18].min() > 1e-4


def test_shares_of_the_contribution():
    assert contribution_shares(torch.ones(10, 10)) == {0.5: 0.5, 0.95: 0.95, 0.99: 0.99}
    point = torch.zeros(10, 10)
    point[3, 4] = 2
    assert set(contribution_shares(point).values()) == {0.01}


def test_crops_have_the_size_whatever_the_image_s():
    for sides in ((40, 90), (10, 300), (32, 32)):
        crops = random_crops(torch.randint(256, (3, *sides), dtype=torch.uint8), 32, 3)
        assert crops.shape == (3, 3, 32, 32)


def test_classifiers_of_torchvision_give_their_last_map():
    assert last_map(torchvision.models.resnet18())(images(1, 64)).shape == (1, 512, 2, 2)
    with pytest.raises(ValueError, match="VisionTransformer pools no map"):
        last_map(torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64))


def test_what_has_no_map_is_an_error():
    with pytest.raises(ValueError, match=r"a map \(B, C, H, W\)"):
        effective_receptive_field(nn.Flatten(), images())
    with pytest.raises(ValueError, match="no pixel moves"):
        effective_receptive_field(lambda x: 0 * x, images())


def test_the_picture_has_a_panel_for_each(tmp_path):
    figure = draw_receptive_fields(
        {"one": torch.rand(32, 32), "two": torch.rand(48, 32)}, tmp_path / "erf.png"
    )
    *axes, _bar = figure.axes
    assert [a.get_title() for a in axes] == ["one", "two"] and "hold 50 / 95 / 99 %" in axes[
        0
    ].get_xlabel()
    with Image.open(tmp_path / "erf.png") as picture:
        assert picture.size[0] > 1000
