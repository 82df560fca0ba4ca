"""The scan from operators that exporters know equals the loop that defines it."""

import itertools

import pytest
import torch

from mmmamba.ops import cover, expand_routes, route_table, selective_scan
from mmmamba.ops.lowering import lowering

ROUTES = ("cross", "atrous", ("window3", "window3_reversed"), None)
CASES = list(itertools.product((1, 2, 16), ROUTES, (True, False), (True, False)))


@pytest.mark.parametrize(("d_state", "names", "merge", "each"), CASES)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (12, 20)])
def test_it_equals_the_loop(d_state, names, merge, each, size):
    torch.manual_seed(0)
    routes = expand_routes(names)[0] if names else None
    index = route_table(routes, *size) if routes else None
    B, L, K, D = 2, size[0] * size[1], len(routes) if routes else 2, 6
    given = (
        torch.randn(B, L, K, D) if each else torch.randn(B, L, D),
        torch.randn(B, L, K, D),
        -3 * torch.rand(K, D, d_state),
        torch.randn(B, L, K, d_state),
        torch.randn(B, L, K, d_state),
        torch.randn(K, D),
    )
    settings = dict(
        index=index,
        delta_bias=torch.randn(K, D),
        delta_softplus=True,
        merge=merge,
        index_complete=cover(routes) if routes else True,
    )
    wanted = selective_scan(*given, **settings, backend="naive")
    with lowering():
        found = selective_scan(*given, **settings)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=2e-5)


def test_small_steps_keep_their_digits():
    """`log(1 + e)` alone would lose them: softplus of -12 is 6.1e-6."""
    length = 64
    given = (
        torch.ones(1, length, 1),
        torch.full((1, length, 1, 1), -12.0),
        -torch.ones(1, 1, 1),
        torch.ones(1, length, 1, 1),
        torch.ones(1, length, 1, 1),
    )
    wanted = selective_scan(*[one.double() for one in given], delta_softplus=True, backend="naive")
    with lowering():
        found = selective_scan(*given, delta_softplus=True)
    torch.testing.assert_close(found.double(), wanted, atol=0, rtol=1e-5)
