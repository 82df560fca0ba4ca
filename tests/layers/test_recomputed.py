"""What is computed again spares memory in its backward pass, too."""

import importlib

import torch
from torch import nn

from mmmamba.layers.recomputed import recomputed
from mmmamba.ops import projected_scan


class Scan(nn.Module):
    def forward(self, x_BLD, weight_MD, A):
        return projected_scan(x_BLD, weight_MD, A, None)


def test_scans_go_through_a_batch_in_smaller_parts(monkeypatch):
    module = importlib.import_module("mmmamba.ops.selective_scan.projected")
    parts, backward = [], module._backward
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", "cpu")
    monkeypatch.setattr(module, "AT_ONCE", 4 * 5 * 5)
    monkeypatch.setattr(
        module, "_backward", lambda grad, *more: parts.append(len(grad)) or backward(grad, *more)
    )
    torch.manual_seed(0)
    leaves = [
        torch.randn(shape, dtype=torch.double, requires_grad=True)
        for shape in ((3, 5, 3), (5, 3), (1, 3, 1))
    ]
    plain = torch.autograd.grad(Scan()(*leaves).sin().sum(), leaves)
    sparing = torch.autograd.grad(recomputed(Scan(), *leaves).sin().sum(), leaves)
    assert parts == [3, 1, 1, 1]
    for got, want in zip(sparing, plain):
        torch.testing.assert_close(got, want)
