"""ES2D computes what SS2D computes on the same routes, with a quarter of the projections."""

import pytest
import torch

from mmmamba.layers import ES2D, SS2D
from mmmamba.layers.mixers.es2d import SKIP

ORDERS = ("row", "column", "row")
STEP_3 = [
    f"atrous_{by}_{row}{column}_step3" for row, by in enumerate(ORDERS) for column in range(3)
]


@pytest.mark.parametrize("routes", [SKIP, STEP_3], ids=["step 2", "step 3"])
@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 5), (2, 1)])
def test_outputs_and_gradients_are_those_of_ss2d(size, routes):
    torch.manual_seed(0)
    kwargs = dict(routes=routes, d_state=3, gate=True, conv_bias=True)
    shared, merged = ES2D(16, **kwargs).double(), SS2D(16, **kwargs).double()
    merged.load_state_dict(shared.state_dict())
    x = torch.randn(2, *size, 16, dtype=torch.float64)
    weight = torch.randn(2, *size, 16, dtype=torch.float64)
    results = []
    for mixer in (shared, merged):
        leaf = x.clone().requires_grad_()
        y = mixer(leaf)
        (y * weight).sum().backward()
        results.append([y, leaf.grad, *(p.grad for p in mixer.parameters())])
    for got, want in zip(*results):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


def test_routes_that_share_positions_are_errors():
    with pytest.raises(ValueError, match="share positions"):
        ES2D(16, routes=("row", "column"))


def test_what_it_cannot_do_is_an_error():
    with pytest.raises(ValueError, match="no heads"):
        ES2D(8, routes=(SKIP, SKIP))
    with pytest.raises(ValueError, match="no merge"):
        ES2D(8, merge=torch.nn.Identity())
