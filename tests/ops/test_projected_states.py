"""A scan that hands out its states equals the recurrence, whatever is kept on the way."""

import importlib

import pytest
import torch
import torch.nn.functional as F

from mmmamba.ops import projected_states

from .second_order import assert_forward_equal, assert_second_order_equal, leaves

pytestmark = pytest.mark.usefixtures("poisoned_memory")
MODULE = importlib.import_module("mmmamba.ops.selective_scan.projected")


def make(batch=3, length=10, D=6, padding=0, dtype=torch.float64, device="cpu"):
    """x, weight, A and the bias of the step sizes."""
    torch.manual_seed(0)
    weight = F.pad(0.3 * torch.randn(D + 2, D), (0, 0, 0, padding))
    given = (torch.randn(batch, length, D), weight, -torch.rand(1, D, 1) - 0.1, torch.randn(1, D))
    return [x.to(device, dtype) for x in given]


def by_definition(x, weight, A, bias):
    D = x.shape[-1]
    delta, B, C = F.linear(x, weight)[..., : D + 2].split((D, 1, 1), -1)
    delta = F.softplus(delta + bias)
    h, states = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        h = torch.exp(delta[:, t] * A[0, :, 0]) * h + delta[:, t] * B[:, t] * x[:, t]
        states.append(h)
    return torch.stack(states, 1), C[..., 0]


def read(function):
    """One tensor of both results."""
    return lambda *given: torch.einsum("bld,bl->bld", *function(*given))


@pytest.mark.parametrize("at_once", [MODULE.AT_ONCE, 1])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("backend", ["naive", "torch", "cpu"])
def test_definition(backend, padding, at_once, monkeypatch):
    """Values, gradients and second derivatives, of a batch at once and image by image."""
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", backend)
    monkeypatch.setattr(MODULE, "AT_ONCE", at_once)
    check(make(padding=padding), 1e-9)


def check(given, tolerance):
    with torch.no_grad():
        for got, want in zip(projected_states(*given), by_definition(*given)):
            torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
    assert_second_order_equal(read(projected_states), read(by_definition), given, tolerance)


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_of_the_results_alone(wanted):
    given = leaves(make())
    found = [
        torch.autograd.grad(f(*given)[wanted].square().sum(), given, allow_unused=True)
        for f in (projected_states, by_definition)
    ]
    for got, want, x in zip(*found, given):
        torch.testing.assert_close(got, torch.zeros_like(x) if want is None else want)


def test_forward_mode():
    assert_forward_equal(read(projected_states), read(by_definition), make())


def test_what_it_does_not_take_is_named():
    x, weight, A, bias = make()
    with pytest.raises(ValueError, match=r"A is \(2, 6, 1\).*wanted \(1, 6, 1\) and at least 8"):
        projected_states(x, weight, A.expand(2, -1, -1), bias)
    with pytest.raises(ValueError, match=r"weight_MD \(7, 6\)"):
        projected_states(x, weight[:7], A, bias)


@pytest.mark.gpu
def test_on_a_gpu():
    check(make(2, 50, 64, 6, torch.float32, "cuda"), 2e-3)
