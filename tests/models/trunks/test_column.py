"""Columns of other blocks and other tokens than Vim's stand on the same trunk in a few lines."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from mmmamba.layers import BidirectionalMixer, LayerNorm, PatchEmbed, TokenEmbedding, TokenLayout
from mmmamba.models.trunks.column import Column, ColumnArch, PlainBackbone
from mmmamba.models.trunks.stream import Stream, StreamArch, StreamBackbone, stream_norm


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


class Registers(nn.Module):
    """Learned tokens spread through the sequence, as Mamba-R's."""

    def __init__(self, dim: int, grid_size: tuple[int, int], count: int):
        super().__init__()
        self.count = count
        self.cells = TokenEmbedding(dim, grid_size)
        self.registers = nn.Parameter(torch.randn(1, count, dim))

    def layout(self, height: int, width: int) -> TokenLayout:
        run = height * width // (self.count + 1)
        places = tuple(k * (run + 1) + run for k in range(self.count))
        return TokenLayout(height, width, places)

    def forward(self, x_BHWC: Tensor) -> tuple[Tensor, TokenLayout]:
        layout = self.layout(*x_BHWC.shape[1:3])
        x_BLC, _ = self.cells(x_BHWC)
        return layout.insert(x_BLC, self.registers.expand(len(x_BLC), -1, -1)), layout


@dataclass(frozen=True, kw_only=True)
class RegisteredArch(StreamArch):
    depth: int = 4
    registers: int = 3


class Registered(StreamBackbone):
    """Vim's stream with registers, all of which the classifier reads, as Mamba-R's."""

    Arch = RegisteredArch

    def build(self, a: RegisteredArch, in_channels: int) -> Stream:
        self.count = a.registers
        dim, given = a.embed_dims, a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank")
        patch_embed = PatchEmbed(in_channels, dim, a.patch_size, a.patch_size)
        return Stream(
            patch_embed=patch_embed,
            tokens=Registers(dim, patch_embed.grid_size(*a.img_sides), a.registers),
            stride=a.patch_size,
            blocks=[BidirectionalMixer(dim, **given) for _ in range(a.depth)],
            norm=stream_norm(a.norm),
        )

    def _add_classifier(self, dim: int, num_classes: int) -> None:
        self.head = nn.Linear(self.count * dim, num_classes)

    def _classify(self, last_BLC: Tensor, layout: TokenLayout) -> Tensor:
        _, registers_BEC = layout.cut(self.norm_f(last_BLC))
        return self.head(registers_BEC.flatten(1))


COLUMNS = {"Residual": Residual, "Registered": Registered}
every_column = pytest.mark.parametrize("family", COLUMNS)


def tiny(family: str, **given) -> PlainBackbone:
    torch.manual_seed(0)
    return COLUMNS[family](embed_dims=16, img_size=64, **given)


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
    model = tiny("Registered", classifier=True, num_classes=5).eval()
    layout = model.tokens.layout(4, 5)
    assert layout.places == (5, 11, 17)
    last_BLC = torch.randn(1, 23, 16)
    with torch.no_grad():
        rows_BC = model.norm_f(last_BLC)[:, list(layout.places)].flatten(1)
        torch.testing.assert_close(model._classify(last_BLC, layout), model.head(rows_BC))
