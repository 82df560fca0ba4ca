"""SS2D walks the routes it is given, all channels together or head by head."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import SS2D, GatedMerge
from mmmamba.ops import route

H, W = 5, 7


def mixer(dim: int = 8, **kwargs) -> SS2D:
    torch.manual_seed(0)
    return SS2D(dim, d_state=3, ssm_ratio=1.0, dt_rank=2, **kwargs).double()


def image(dim: int = 8) -> torch.Tensor:
    return torch.randn(
        2, H, W, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def walked(m: SS2D, x_BHWD: torch.Tensor, k: int) -> torch.Tensor:
    """Route k by its definition, `(B, L, D)`: read the map, scan step by step, put back."""
    order = route(m.routes[k], H, W)
    u_BTD = torch.where(order[:, None] >= 0, x_BHWD.flatten(1, 2)[:, order], 0)
    rho, B, C = F.linear(u_BTD, m.x_proj_weight[k]).split(m.s6().splits, -1)
    delta = F.softplus(rho @ m.dt_projs_weight[k].t() + m.dt_projs_bias[k])
    D = u_BTD.shape[-1]
    A, skip = -torch.exp(m.A_logs[k * D : (k + 1) * D]), m.Ds[k * D : (k + 1) * D]
    h, y_BLD = 0, torch.zeros(2, H * W, D, dtype=torch.float64)
    for t, position in enumerate(order.tolist()):
        h = (
            torch.exp(delta[:, t, :, None] * A) * h
            + (delta[:, t] * u_BTD[:, t])[..., None] * B[:, t, None]
        )
        if position >= 0:
            y_BLD[:, position] = (h * C[:, t, None]).sum(-1) + skip * u_BTD[:, t]
    return y_BLD


@pytest.mark.parametrize(
    "routes",
    [
        ("hilbert", "hilbert_reversed"),
        ("window2", "window7_reversed", "spiral"),
        "omnidirectional",
        ("radial",),
    ],
    ids=str,
)
def test_the_sum_over_any_number_of_routes(routes):
    m = mixer(routes=routes)
    want = sum(walked(m, image(), k) for k in range(len(m.routes)))
    torch.testing.assert_close(m.scan(image()).flatten(1, 2), want)


def test_each_head_has_its_channels_and_its_routes():
    m = mixer(routes=(("row", "window2"), ("hilbert", "zigzag_reversed")))
    assert m.heads == 2 and m.x_proj_weight.shape == (4, 2 + 2 * 3, 4)
    halves = [
        sum(walked(m, half, k) for k in ks)
        for half, ks in zip(image().chunk(2, -1), ((0, 1), (2, 3)))
    ]
    torch.testing.assert_close(m.scan(image()).flatten(1, 2), torch.cat(halves, -1))
    m(image()).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in m.parameters())


def test_heads_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match="3 heads, which cannot share 8 inner channels"):
        mixer(routes=(("row",), ("column",), ("hilbert",)))
    with pytest.raises(KeyError, match="Did you mean 'hilbert'"):
        mixer(routes=("hilbrt",))


@pytest.mark.parametrize("as_published", [False, True])
def test_gated_merge(as_published):
    """Every route's output times a gate of its own mean, then summed.

    The published columns land elsewhere.
    """
    routes = ("row", "column_reversed", "window2")
    merge = GatedMerge(16, routes, as_published).double()
    m = mixer(16, routes=routes, merge=merge)
    want = 0
    for k, name in enumerate(routes):
        y_BLD = walked(m, image(16), k)
        gate = merge.attn.norm(y_BLD).mean(1)
        gate = torch.sigmoid(merge.attn.channel_select(F.gelu(merge.attn.global_reduce(gate))))
        if as_published and name == "column_reversed":
            y_BLD = (
                y_BLD.view(2, H, W, 16)
                .transpose(1, 2)
                .reshape(2, H, W, 16)
                .transpose(1, 2)
                .reshape(2, H * W, 16)
            )
        want = want + y_BLD * gate[:, None]
    torch.testing.assert_close(m.scan(image(16)).flatten(1, 2), want)
