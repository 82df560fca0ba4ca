"""Feature maps as colours, and where an image's cells lie."""

import numpy as np
import pytest
import torch

from mmmamba.models.backbones.vim import Vim
from mmmamba.models.backbones.vmamba import VMamba
from mmmamba.visualization import (
    Picture,
    draw_feature_maps,
    feature_maps,
    mean_activation,
    principal_colours,
)


def test_colours_are_the_directions_of_most_variance():
    patterns = torch.randn(6, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    patterns = torch.linalg.qr((patterns - patterns.mean((0, 1))).view(48, 3))[0].view(6, 8, 3)
    directions = torch.linalg.qr(
        torch.randn(16, 3, generator=torch.Generator().manual_seed(1)).double()
    )[0]
    colours = principal_colours((patterns * torch.tensor([3.0, 2.0, 1.0])) @ directions.T + 5)
    assert colours.shape == (6, 8, 3) and colours.min() == 0 and colours.max() == 1
    for k in range(3):
        pair = torch.stack([colours[..., k].flatten().double(), patterns[..., k].flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() > 0.97
    with pytest.raises(ValueError, match="three channels"):
        principal_colours(torch.rand(4, 4, 2))


def test_a_constant_map_has_colours_too():
    assert torch.isfinite(principal_colours(torch.ones(4, 5, 6))).all()


@pytest.mark.parametrize("family", [VMamba, Vim])
def test_maps_before_the_norm_have_strengths(family):
    torch.manual_seed(0)
    model = family(**family.TINY).eval()
    images = torch.randn(1, 3, 64, 96)
    after, before = feature_maps(model, images), feature_maps(model, images, before_norm=True)
    assert [x.shape for x in after] == [x.shape for x in before]
    assert all(x.shape[2] == channels for x, channels in zip(after, model.out_channels))
    if family is VMamba:
        norm = model.outnorm0
        assert torch.equal(norm(before[0]), after[0])
        spread = [float(x[0].pow(2).mean(-1).std()) for x in (after, before)]
        assert spread[0] < 1e-3 < spread[1]
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_cells_and_pixels_are_of_one_mind():
    picture = Picture(np.zeros((90, 120, 3), np.uint8), (0.75, 0.9375))
    for row, column in ((0, 0), (3, 5), (11, 14)):
        assert picture.cell(*picture.position(row, column, 16, 16), 16, 16) == (row, column)
    # 12 of 16 rows and 15 of 16 columns hold the image.
    assert picture.crop(torch.zeros(16, 16)).shape == (12, 15)
    assert picture.cell_size(16, 16) == (7.5, 8.0)
    for outside in ((120, 0), (-1, 0), (0, 90)):
        with pytest.raises(ValueError, match="outside the image of 120x90"):
            picture.cell(*outside, 16, 16)


def test_the_picture_shows_colours_above_strengths(tmp_path):
    picture = Picture(np.zeros((32, 64, 3), np.uint8))
    maps = [torch.rand(8, 16, 5), torch.rand(4, 8, 7)]
    figure = draw_feature_maps(maps, picture, tmp_path / "maps.png")
    shown = [
        axes.get_images()[0].get_array().shape for axes in figure.axes[:-1] if axes.get_images()
    ]
    assert shown == [(32, 64, 3), (8, 16, 3), (4, 8, 3), (8, 16), (4, 8)]
    assert figure.axes[1].get_title() == "map 0, 8×16"
    assert np.allclose(figure.axes[4].get_images()[0].get_array(), mean_activation(maps[0]))
    assert (tmp_path / "maps.png").stat().st_size > 10_000
