"""Derivatives beyond one backward pass, compared."""

import torch
from torch.func import jvp


def leaves(tensors):
    return tuple(x.detach().clone().requires_grad_() for x in tensors)


def difference(function, inputs, tangents, step=1e-6):
    """The derivative along the tangents, from two values."""
    high, low = (
        function(*(x + sign * step * t for x, t in zip(inputs, tangents))) for sign in (1, -1)
    )
    return (high - low) / (2 * step)


def assert_second_order_equal(function, reference, inputs, tolerance=1e-4):
    """Values, gradients, and gradients of a penalty on these."""
    found = []
    for call in (function, reference):
        wanted = leaves(inputs)
        y = call(*wanted)
        first = torch.autograd.grad(y.square().sum(), wanted, create_graph=True)
        penalty = sum(g.square().sum() for g in first) + sum(x.square().sum() for x in wanted)
        found.append(
            [y.detach(), *(g.detach() for g in first), *torch.autograd.grad(penalty, wanted)]
        )
    for got, want in zip(*found):
        torch.testing.assert_close(
            got, want, rtol=tolerance, atol=tolerance * float(want.abs().max())
        )


def assert_forward_equal(function, reference, inputs, tolerance=1e-4):
    """Derivatives along a direction, in forward mode."""
    got, want = (jvp(call, tuple(inputs), tuple(inputs))[1] for call in (function, reference))
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * float(want.abs().max()))
