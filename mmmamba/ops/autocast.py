"""The dtype that autocast asks for, and what is never held in half precision."""

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Autocast's dtype where x is, None where it is off.

    Can be traced by `torch.compile` of PyTorch 2.6 and newer.
    """
    device = x.device.type
    # PyTorch knows no autocast for meta tensors and raises an error when asked about it.
    if device == "meta" or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 where it is float64 already."""
    return x if x.dtype == torch.float64 else x.float()


def no_autocast(x: Tensor) -> AbstractContextManager:
    """Operators inside keep to the dtypes that they are given, where x is."""
    # Where it is off already there is nothing to do, and tracers would note that it was switched.
    if autocast_dtype(x) is None:
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)
