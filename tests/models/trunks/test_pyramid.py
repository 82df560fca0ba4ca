"""Pyramids of other widths and other stages than VMamba's stand on the same trunk."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from mmmamba.layers import LayerNorm, Stage, conv_downsample, conv_stem
from mmmamba.models.backbones import MambaVision, MambaYOLOBackbone, MobileMamba, VMamba
from mmmamba.models.trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone


def image(side: int = 64) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_a_first_width_is_doubled_and_several_are_taken_as_they_are() -> None:
    depths = (1, 1, 1, 1)
    doubled = VMamba(dict(embed_dims=8, depths=depths))
    assert doubled.out_channels == [8, 16, 32, 64]
    uneven = VMamba(dict(embed_dims=(8, 16, 24, 40), depths=depths)).eval()
    with torch.no_grad():
        assert [m.shape[1] for m in uneven(image())] == [8, 16, 24, 40]
    assert VMamba(dict(embed_dims=8, depths=(1, 1))).out_strides == [4, 8]


@pytest.mark.parametrize(
    "make, message",
    [
        (partial(VMamba, embed_dims=(8, 16)), "embed_dims of VMamba is .8, 16., wanted 4 entries"),
        (partial(VMamba, depths=(1,) * 5), "depths of VMamba is .*one entry a stage, 4 at most"),
        (partial(VMamba, depths=()), "depths of VMamba is"),
        (partial(MambaVision, embed_dims=(8, 16, 32, 64)), "wanted the width of the first stage"),
        (partial(MambaVision, window_size=(8, 8)), "window_size of MambaVision .*4 entries"),
        (partial(MambaYOLOBackbone, depths=(1, 1, 1)), "depths of MambaYOLOBackbone .*4 entries"),
        (partial(MobileMamba, kernels=(7, 5)), "kernels of MobileMamba .*3 entries"),
        (partial(VMamba, stem="convolution"), "stem is 'convolution', wanted one of 'conv'"),
    ],
)
def test_what_does_not_fit_the_stages_is_refused(make, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        make()


class Toy(PyramidBackbone):
    Arch = PyramidArch
    OUTPUT_NORMS = False

    def build(self, a: PyramidArch, in_channels: int) -> Pyramid:
        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            self.made = [*getattr(self, "made", ()), (i, j, dim, round(drop_path_rate, 2))]
            return nn.Sequential(nn.Linear(dim, dim), nn.GELU())

        return Pyramid(
            stem=partial(conv_stem, in_channels),
            block=block,
            downsample=conv_downsample,
            # Its normalised map is the output and what goes on, as in GroupMamba.
            stage=lambda i, *parts: Stage(*parts, norm=LayerNorm(a.embed_dims[i])),
        )


def test_stages_of_ones_own() -> None:
    given = dict(embed_dims=(8, 12, 20), depths=(1, 2, 1), drop_path_rate=0.3)
    model = Toy(**given, in_channels=2).eval()
    assert model.made == [(0, 0, 8, 0.0), (1, 0, 12, 0.1), (1, 1, 12, 0.2), (2, 0, 20, 0.3)]
    with torch.no_grad():
        maps = model(torch.randn(1, 2, 64, 64))
    assert [tuple(m.shape) for m in maps] == [(1, 8, 16, 16), (1, 12, 8, 8), (1, 20, 4, 4)]
    assert all(m.mean(1).abs().max() < 1e-5 for m in maps)
    # The norm belongs to its stage where that is frozen.
    frozen = Toy(**given, frozen_stages=2).layers
    assert [stage.norm.weight.requires_grad for stage in frozen] == [False, False, True]


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (8, 16, 32), (16,)])
def test_arguments_that_ask_for_strides_bring_them(strides: tuple[int, ...]) -> None:
    arch = dict(embed_dims=8, depths=(1, 1, 1, 1))
    whole = VMamba(arch)
    asked = VMamba(arch, **whole.asking_for(strides))
    assert asked.out_strides == list(strides)
    assert asked.out_channels == [whole.offered()[stride] for stride in strides]
