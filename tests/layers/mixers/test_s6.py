"""The S6 core: each way of projecting and scanning gives the same, and one precision rule holds."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import ES2D, SS2D, BidirectionalMixer, RouteMixer, SplitMixer, TokenLayout
from mmmamba.layers.mixers.s6 import (
    S6,
    Projected,
    compose,
    dense_pays,
    dt_bias,
    output_dtype,
    resolve_dt_rank,
    s4d_real,
)

K, E, R, N = 3, 10, 4, 2


def parameters(routes: int = K) -> S6:
    torch.manual_seed(0)
    return S6(
        torch.randn(routes, R + 2 * N, E, dtype=torch.float64, requires_grad=True),
        torch.randn(routes, E, R, dtype=torch.float64, requires_grad=True),
        torch.randn(routes, E, dtype=torch.float64, requires_grad=True),
        torch.randn(routes, E, N, dtype=torch.float64, requires_grad=True),
        torch.randn(routes, E, dtype=torch.float64, requires_grad=True),
    )


def image() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 7, E, dtype=torch.float64, generator=generator).requires_grad_()


def with_gradients(outputs, leaves) -> list[torch.Tensor]:
    loss = sum((x * torch.linspace(1, 2, x.numel()).view(x.shape)).sum() for x in outputs)
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [*outputs, *(g for g in grads if g is not None)]


def assert_all_close(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_heads_are_projected_at_once_as_one_by_one():
    s6 = parameters(2 * K)
    x_BLD = image().repeat(1, 1, K) * torch.linspace(1, 2, K * E, dtype=torch.float64)
    leaves = [s6.x_proj_KME, s6.dt_proj_KER]
    want = with_gradients(s6.project(x_BLD, heads=K), leaves)
    assert_all_close(with_gradients(s6._project_at_once(x_BLD, heads=K), leaves), want)


@pytest.mark.parametrize("routes", [1, K])
def test_each_projection_is_the_definition(routes):
    s6, x_BLD = parameters(routes), image()
    rho, B, C = torch.einsum("ble,kme->blkm", x_BLD, s6.x_proj_KME).split(s6.splits, -1)
    leaves = [x_BLD, s6.x_proj_KME, s6.dt_proj_KER]
    defined = Projected(torch.einsum("blkr,ker->blke", rho, s6.dt_proj_KER), B, C)
    want = with_gradients(defined, leaves)
    x_BLKE = x_BLD.unsqueeze(2).expand(-1, -1, routes, -1)
    ways = [
        s6.project(x_BLD),
        s6._project_at_once(x_BLD),
        s6.project_each(x_BLKE),
        s6._project_each_at_once(x_BLKE),
    ]
    for got in ways:
        assert_all_close(with_gradients(got, leaves), want)


@pytest.mark.parametrize("routes", [1, K])
def test_the_scan_that_projects_gives_what_the_other_gives(routes):
    s6, x_BLD = parameters(routes), image()
    index = torch.stack([torch.randperm(7) for _ in range(routes)])
    leaves = [x_BLD, *s6]
    projecting = s6.scan_projecting(x_BLD, index, True)
    apart = s6.scan(x_BLD, s6.project(x_BLD), index, True)
    assert_all_close(with_gradients([projecting], leaves), with_gradients([apart], leaves))


def test_heads_project_their_own_channels():
    s6, x_BLG = parameters(4), torch.randn(2, 7, 2 * E, dtype=torch.float64)
    halves = [
        S6(*(parameter[pair] for parameter in s6)).project(half)
        for pair, half in zip((slice(0, 2), slice(2, 4)), x_BLG.chunk(2, -1))
    ]
    for got, *want in zip(s6.project(x_BLG, heads=2), *halves):
        torch.testing.assert_close(got, torch.cat(want, 2))


def test_the_wide_projection_is_for_gpus():
    assert not dense_pays(torch.zeros(1), 6)


def test_a_composed_weight_is_not_rounded_under_autocast():
    up, down = torch.randn(3, 6, 4), torch.randn(3, 4, 5)
    want = up @ down
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compose(up, down), want)


SIZE = TokenLayout(3, 4)
SCANS = {
    "ss2d": lambda: SS2D(8).scan(torch.randn(2, 3, 4, 16)),
    "heads": lambda: SS2D(8, routes=(("row",), ("column",))).scan(torch.randn(2, 3, 4, 16)),
    "es2d": lambda: ES2D(8).scan(torch.randn(2, 3, 4, 16)),
    "split": lambda: SplitMixer(32).scan(torch.randn(2, 12, 16)),
    "bidirectional": lambda: BidirectionalMixer(8).scan(torch.randn(2, 12, 2, 16)),
    "routes": lambda: RouteMixer(8, ("row", "column")).scan(torch.randn(2, 12, 2, 16), merge=False),
    "projecting": lambda: SS2D(8).s6().scan_projecting(torch.randn(2, 12, 16)),
}


@pytest.mark.parametrize("scan", SCANS)
def test_float16_leaves_a_scan_as_float32_and_nothing_else_changes(scan):
    assert SCANS[scan]().dtype == torch.float32
    with torch.autocast("cpu", torch.float16):
        assert SCANS[scan]().dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert SCANS[scan]().dtype == torch.bfloat16


def test_the_rule_of_precision():
    assert output_dtype(torch.float16) == torch.float32
    for kept in (torch.bfloat16, torch.float32, torch.float64):
        assert output_dtype(kept) is None


MIXERS = {
    "ss2d": lambda: (SS2D(8), (torch.randn(2, 3, 4, 8),)),
    "es2d": lambda: (ES2D(8), (torch.randn(2, 3, 4, 8),)),
    "split": lambda: (SplitMixer(16), (torch.randn(2, 12, 16),)),
    "bidirectional": lambda: (BidirectionalMixer(8), (torch.randn(2, 12, 8), SIZE)),
    "routes": lambda: (RouteMixer(8, ("row", "column")), (torch.randn(2, 12, 8), SIZE)),
}


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mixer_returns_what_its_last_layer_returns(name, dtype):
    torch.manual_seed(0)
    mixer, inputs = MIXERS[name]()
    want = mixer(*inputs)
    with torch.autocast("cpu", dtype):
        got = mixer(*inputs)
    assert got.dtype == dtype
    assert (got.float() - want).abs().max() <= 0.05 * want.abs().max()


def test_routes_whose_sum_float16_cannot_hold():
    """Each route's output is 20000, four of them are more than float16's 65504."""
    mixer = SS2D(8, d_state=1)
    with torch.no_grad():
        mixer.Ds.fill_(20000)
        mixer.x_proj_weight.zero_()
    with torch.autocast("cpu", torch.float16):
        y = mixer.scan(torch.ones(1, 3, 4, 16))
        assert torch.equal(y, torch.full_like(y, 80000))
        assert mixer(torch.randn(1, 3, 4, 8)).isfinite().all()


def test_starts():
    torch.manual_seed(0)
    steps = F.softplus(dt_bias(1000))
    assert 0.9e-3 < steps.min() < 1.5e-3 and 0.09 < steps.max() < 0.1001
    torch.testing.assert_close(
        s4d_real(2, 3, d_state=4).exp(), torch.arange(1.0, 5).expand(2, 3, 4)
    )


def test_ranks():
    assert resolve_dt_rank("auto", 97) == 7 and resolve_dt_rank(5, 97) == 5
    for wrong in ("many", 0, 1.5):
        with pytest.raises(ValueError, match="'auto' or a positive integer"):
            resolve_dt_rank(wrong, 16)
