"""The scan without a loop gives what the loop gives, at known sizes and at symbols."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmmamba.ops import cover, expand_routes, route_table, selective_scan
from mmmamba.ops.lowering import lowering
from mmmamba.ops.selective_scan.unrolled import softplus


def inputs(length: int, K: int, d_state: int, each: bool = False) -> tuple[Tensor, ...]:
    torch.manual_seed(length)
    rows = (2, length, K)
    u = torch.randn(*rows, 3) if each else torch.randn(2, length, 3)
    weights = torch.randn(*rows, d_state), torch.randn(*rows, d_state)
    return u, torch.randn(*rows, 3), -torch.rand(K, 3, d_state) * 3, *weights, torch.randn(K, 3)


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.std()))


@pytest.mark.parametrize("routes", [None, "cross", "atrous", ("window3", "window3_reversed")])
@pytest.mark.parametrize("d_state", [1, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 4), (9, 8), (13, 11)], ids=str)
def test_it_equals_the_loop(routes, d_state: int, size: tuple[int, int]) -> None:
    height, width = size
    names = expand_routes(routes)[0] if routes else ()
    index = route_table(names, height, width) if names else None
    K = len(names) or 2
    for merge, each in ((True, False), (False, True)):
        given = inputs(height * width, K, d_state, each)
        options = dict(
            index=index,
            delta_bias=torch.randn(K, 3),
            delta_softplus=True,
            merge=merge,
            index_complete=bool(names) and cover(names),
        )
        want = selective_scan(*given, backend="naive", **options)
        with lowering(unrolled=True):
            got = selective_scan(*given, **options)
        close(got, want)


class Scan(nn.Module):
    """A scan along routes that are known with the map alone."""

    def forward(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor):
        batch, height, width, channels = u.shape
        index = route_table(expand_routes("cross")[0], height, width, u.device)
        flat = u.reshape(batch, height * width, channels)
        rows = [x.reshape(batch, height * width, *x.shape[3:]) for x in (delta, B, C)]
        delta, B, C = rows
        return selective_scan(flat, delta, A, B, C, D, index=index, index_complete=True)


def maps(batch: int, height: int, width: int) -> tuple[Tensor, ...]:
    u, delta, A, B, C, D = inputs(height * width, 4, 2)
    u = u[:1].expand(batch, -1, -1).reshape(batch, height, width, 3)
    delta, B, C = (
        x[:1].abs().expand(batch, *x.shape[1:]).reshape(batch, height, width, 4, -1)
        for x in (delta, B, C)
    )
    return u, delta, A, B, C, D


def test_one_program_for_all_sizes() -> None:
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    any_size[2] = torch.export.Dim.DYNAMIC
    fixed: dict = {}
    shapes = (any_size, any_size, fixed, any_size, any_size, fixed)
    with torch.no_grad(), lowering(unrolled=True):
        program = torch.export.export(Scan(), maps(2, 5, 7), dynamic_shapes=shapes, strict=False)
    assert not any("mmmamba" in str(node.target) for node in program.graph.nodes)
    call = program.module()
    for size in ((1, 2, 2), (3, 20, 17), (2, 40, 31)):
        given = maps(*size)
        close(call(*given), Scan()(*given))


def test_softplus_is_exact_everywhere() -> None:
    x = torch.linspace(-110, 110, 4001)
    want = torch.nn.functional.softplus(x.double(), threshold=1000).float()
    torch.testing.assert_close(softplus(x), want, rtol=3e-7, atol=0)
