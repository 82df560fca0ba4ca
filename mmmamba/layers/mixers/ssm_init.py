"""Starting values of S6 parameters (Mamba, arXiv 2312.00752, section 3.6)."""

import math

import torch
from torch import Tensor, nn


def s4d_real(*lead: int, d_state: int) -> Tensor:
    """`A_log` so that A = -1 … -d_state for every channel, `(*lead, d_state)` (S4D, arXiv 2206.11893)."""
    return (
        torch.log(torch.arange(1, d_state + 1, dtype=torch.float32)).expand(*lead, d_state).clone()
    )


def dt_weight(*lead: int, dt_rank: int) -> Tensor:
    """Uniform in ±dt_rank^-0.5, `(*lead, dt_rank)`."""
    return torch.empty(*lead, dt_rank).uniform_(-(dt_rank**-0.5), dt_rank**-0.5)


def dt_bias(*shape: int, dt_min: float = 1e-3, dt_max: float = 0.1, floor: float = 1e-4) -> Tensor:
    """The inverse softplus of log-uniform step sizes in [dt_min, dt_max]."""
    dt = torch.exp(torch.empty(shape).uniform_(math.log(dt_min), math.log(dt_max))).clamp(min=floor)
    return dt + torch.log(-torch.expm1(-dt))


def full_precision(x: Tensor) -> Tensor:
    """Float32 at least: A, D and the step sizes' bias never enter a scan in half precision."""
    return x if x.dtype == torch.float64 else x.float()


def flat_ssm_(mixer: nn.Module) -> None:
    """Mamba YOLO's start, in place: every state decays alike (A = -1) and step sizes are softplus of normal values."""
    with torch.no_grad():
        mixer.A_logs.zero_()
        mixer.dt_projs_weight.normal_()
        mixer.dt_projs_bias.normal_()
