"""The mixers of Vim and LocalVim against their definitions.

These are read step by step on copies of the sequence.
"""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import BidirectionalMixer, RouteMixer, TokenLayout
from mmmamba.layers.mixers.branches import stacked
from mmmamba.layers.tokens import TokenEmbedding
from mmmamba.ops import route


def branch(mixer, suffix, a_name, x_BTD):
    """One branch on a sequence: causal convolution, SiLU, projections, recurrence."""

    def part(name):
        return getattr(mixer, name + suffix)

    taps, D = part("conv1d").weight[:, 0], x_BTD.shape[-1]
    padded = F.pad(x_BTD, (0, 0, taps.shape[1] - 1, 0))
    u = (
        sum(padded[:, j : j + x_BTD.shape[1]] * taps[:, j] for j in range(taps.shape[1]))
        + part("conv1d").bias
    )
    u = F.silu(u)
    rho, B, C = part("x_proj")(u).split(mixer.s6().splits, -1)
    delta = F.softplus(part("dt_proj")(rho))
    A = -torch.exp(getattr(mixer, a_name))
    h, outputs = u.new_zeros(len(u), D, A.shape[1]), []
    for t in range(u.shape[1]):
        h = (
            torch.exp(delta[:, t, :, None] * A) * h
            + (delta[:, t] * u[:, t])[..., None] * B[:, t, None]
        )
        outputs.append((h * C[:, t, None]).sum(-1) + part("D") * u[:, t])
    return torch.stack(outputs, 1)


def randomised(mixer):
    torch.manual_seed(0)
    for p in mixer.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return mixer.double()


@pytest.mark.parametrize("halve", [True, False])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_bidirectional(halve, length):
    mixer = randomised(BidirectionalMixer(8, d_state=3, halve=halve))
    tokens = torch.randn(2, length, 8, dtype=torch.float64)
    x, z = mixer.in_proj(tokens).chunk(2, -1)
    y = branch(mixer, "", "A_log", x) + branch(mixer, "_b", "A_b_log", x.flip(1)).flip(1)
    want = mixer.out_proj(y * F.silu(z) * (0.5 if halve else 1))
    torch.testing.assert_close(mixer(tokens), want)


@pytest.mark.parametrize(
    "routes", [("row", "column_reversed"), ("window2_reversed", "row", "window3")]
)
@pytest.mark.parametrize("cls_token", ["none", "middle"])
def test_routes_with_padding(routes, cls_token):
    mixer = randomised(RouteMixer(8, routes, d_state=3))
    H, W = 3, 5
    layout = TokenEmbedding(8, (H, W), cls_token).layout(H, W)
    tokens = torch.randn(2, H * W + len(layout.places), 8, dtype=torch.float64)
    xz, xz_extra = layout.cut(mixer.in_proj(tokens))
    total = 0
    for k, name in enumerate(routes):
        order = route(name, H, W)
        read = torch.where((order < 0)[:, None], 0.0, xz[:, order])
        x, z = layout.insert(read, xz_extra).chunk(2, -1)
        gated, gated_extra = layout.cut(branch(mixer, f"_{k}", f"A_log_{k}", x) * F.silu(z))
        cells = torch.zeros_like(gated[:, : H * W])
        cells[:, order[order >= 0]] = gated[:, order >= 0]
        total = total + mixer.attn(layout.insert(cells, gated_extra)[:, :, None])[:, :, 0]
    torch.testing.assert_close(mixer(tokens, layout), mixer.out_proj(total))


def test_routes_must_visit_every_cell():
    with pytest.raises(ValueError, match="every cell"):
        RouteMixer(8, ("row", "atrous_row_00_step2"))
    with pytest.raises(KeyError, match="Did you mean 'column'"):
        RouteMixer(8, ("colum",))


def test_gradients_reach_the_tokens_of_padded_windows():
    mixer = randomised(RouteMixer(4, ("window2", "column"), d_state=2))
    tokens = torch.randn(1, 15, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: mixer(x, TokenLayout(3, 5)), tokens)


def test_parameters_stacked_at_once_have_the_gradients_of_a_stack():
    """Groups differ in length, and nobody uses one of them."""
    torch.manual_seed(0)
    groups = [[torch.randn(3, requires_grad=True) for _ in range(n)] for n in (2, 3, 1)]
    leaves = [x for group in groups for x in group]
    found = []
    for stack in (stacked, lambda groups: [torch.stack(group) for group in groups]):
        first, _, last = stack(groups)
        loss = first.square().sum() + last.cos().sum()
        grads = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
        again = torch.autograd.grad(
            sum(g.square().sum() for g in grads if g is not None), leaves, allow_unused=True
        )
        found.append([first, last, *grads, *again])
    for got, want in zip(*found, strict=True):
        assert (got is None) == (want is None)
        assert got is None or torch.equal(got, want)
