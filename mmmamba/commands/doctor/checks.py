"""One check of one backend: how far it is from the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}
"""Largest error of outputs and gradients as a share of the largest value."""


@dataclass(frozen=True)
class Check:
    """The result of a check."""

    operator: str
    backend: str
    device: str
    dtype: torch.dtype
    error: float | None = None
    """Relative, the worst of output and gradients; None if it did not run."""
    problem: str = ""
    """Why it did not run."""

    @property
    def passed(self) -> bool:
        return self.error is not None and self.error <= TOLERANCES[self.dtype]


def run_check(
    operator: str,
    backend: str,
    device: torch.device,
    dtype: torch.dtype,
    got: Callable[[], Mapping[str, Tensor]],
    want: Mapping[str, Tensor],
) -> Check:
    """Compare what `got` returns with float64 values of the same names."""
    try:
        found = {name: value.detach().double().cpu() for name, value in got().items()}
    # Whatever a backend raises, compilers' errors too, is its result here.
    except Exception as error:  # noqa: BLE001
        lines = str(error).strip().splitlines()
        problem = f"{type(error).__name__}: {lines[0] if lines else ''}"
        return Check(operator, backend, str(device), dtype, problem=problem)
    worst = 0.0
    for name, value in want.items():
        exact = value.cpu()
        # A truth of zeros would divide by nothing.
        largest = exact.abs().max().clamp(min=1e-12)
        share = ((found[name] - exact).abs().max() / largest).item()
        # NaN compares with nothing: it is the worst there is.
        worst = max(worst, share) if share == share else float("inf")
    return Check(operator, backend, str(device), dtype, error=worst)


def leaves(
    inputs: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Copies that take gradients."""
    copies = {}
    for name, x in inputs.items():
        copies[name] = x.detach().to(device, dtype or x.dtype).requires_grad_()
    return copies


def with_gradients(y: Tensor, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The output, and the gradients of a weighted sum of it."""
    # Uneven, and no sum of it near zero, where the rounding of half precision would be all that
    # is left.
    weight = (1 + torch.arange(y.numel(), dtype=torch.float64).cos()).view(y.shape).to(y.device)
    gradients = torch.autograd.grad((y.double() * weight).sum(), list(inputs.values()))
    named = {f"gradient of {name}": gradient for name, gradient in zip(inputs, gradients)}
    return {"output": y} | named
