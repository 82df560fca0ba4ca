"""Columns of other blocks and other tokens than Vim's stand on the same trunk in a few lines."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from mmmamba.layers import LayerNorm, PatchEmbed, TokenEmbedding, TokenLayout
from mmmamba.models.backbones import MambaR
from mmmamba.models.trunks.column import Column, ColumnArch, PlainBackbone


class ResidualBlock(nn.Module):
    """`x + linear(norm(x))`."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.mixer = nn.Linear(dim, dim)

    def forward(self, x_BLC: Tensor, layout: TokenLayout) -> Tensor:
        assert x_BLC.shape[1] == layout.cells
        return x_BLC + self.mixer(self.norm(x_BLC))


@dataclass(frozen=True, kw_only=True)
class ResidualArch(ColumnArch):
    depth: int = 4


class Residual(PlainBackbone):
    """A column of residual blocks without extra tokens, as PlainMamba's."""

    Arch = ResidualArch

    def build(self, a: ResidualArch, in_channels: int) -> Column:
        patch_embed = PatchEmbed(in_channels, a.embed_dims, a.patch_size, a.patch_size, pad=True)
        return Column(
            patch_embed=patch_embed,
            tokens=TokenEmbedding(a.embed_dims, patch_embed.grid_size(*a.img_sides)),
            stride=a.patch_size,
            blocks=[ResidualBlock(a.embed_dims) for _ in range(a.depth)],
            out_norm=LayerNorm,
        )


COLUMNS = {"Residual": Residual, "MambaR": MambaR}
every_column = pytest.mark.parametrize("family", COLUMNS)


def tiny(family: str, **given) -> PlainBackbone:
    torch.manual_seed(0)
    return COLUMNS[family](**dict(embed_dims=16, img_size=64, depth=4) | given)


def image(height: int = 64, width: int = 80) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@every_column
def test_maps_after_chosen_blocks(family: str) -> None:
    model = tiny(family).eval()
    with torch.no_grad():
        maps, last = model(image()), tiny(family, out_indices=(1, 2)).eval()(image())
    assert [tuple(m.shape) for m in maps] == [(2, 16, 4, 5)] * 4
    for a, b in zip(maps[1:3], last):
        torch.testing.assert_close(a, b)


def test_a_residual_column_is_its_blocks_one_after_another() -> None:
    model = tiny("Residual", out_indices=(0, 2)).eval()
    x_BLC = model.patch_embed(image()).flatten(1, 2)
    assert len(model.layers) == 3 and model.not_built == (r"layers\.3\..*",)
    with torch.no_grad():
        maps = model(image(64, 64))
        x_BLC, layout = model.tokens(model.patch_embed(image(64, 64)))
        wanted = []
        for layer in model.layers:
            x_BLC = layer(x_BLC, layout)
            wanted.append(x_BLC)
    for n, i in enumerate((0, 2)):
        normed_BLC = getattr(model, f"outnorm_{n}")(wanted[i])
        torch.testing.assert_close(maps[n].flatten(2).transpose(1, 2), normed_BLC)


@every_column
def test_every_parameter_learns_with_and_without_recomputation(family: str) -> None:
    gradients = []
    for with_cp in (False, True):
        model = tiny(family, with_cp=with_cp).train()
        sum(m.square().sum() for m in model(image())).backward()
        assert all(p.grad is not None and p.grad.any() for p in model.parameters())
        gradients.append([p.grad for p in model.parameters()])
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@every_column
def test_classifier(family: str) -> None:
    model = tiny(family, classifier=True, num_classes=7).train()
    logits = model(image())
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@every_column
def test_frozen_blocks_and_a_pyramid(family: str) -> None:
    model = tiny(family, frozen_stages=2, pyramid=(8, 16), out_indices=(1, 3)).train()
    frozen = [p for part in model._parts()[:3] for m in part for p in m.parameters()]
    assert frozen and not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for p in model.layers[2].parameters())
    assert [tuple(m.shape[2:]) for m in model(image())] == [(8, 10), (4, 5)]


def test_registers_are_cut_out_of_the_maps_and_read_in_order() -> None:
    model = tiny("MambaR", classifier=True, num_classes=5, registers=3, cls_reduce=2).eval()
    layout = model.tokens.layout(4, 5)
    assert layout.places == (5, 11, 17)
    last_BLC = torch.randn(1, 23, 16)
    with torch.no_grad():
        rows_BEC = model.norm_f(last_BLC)[:, list(layout.places)]
        reduced = [model.neck(row_BC) for row_BC in rows_BEC.unbind(1)]
        logits = model.head(model.norm_neck(torch.cat(reduced, 1)))
        torch.testing.assert_close(model._classify(last_BLC, layout), logits)
    with pytest.raises(ValueError, match="cls_reduce is 3, wanted a divisor of embed_dims, 16"):
        tiny("MambaR", cls_reduce=3)


def test_registers_move_and_positions_are_resized_with_the_map() -> None:
    old = tiny("MambaR", registers=3).eval()
    new = tiny("MambaR", registers=3, img_size=(64, 96)).eval()
    assert new.load_weights(old.state_dict()).resized == ["tokens.pos_embed"]
    with torch.no_grad():
        for a, b in zip(new(image(64, 96)), old(image(64, 96))):
            torch.testing.assert_close(a, b)
