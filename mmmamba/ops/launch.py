"""What launching a Triton kernel needs to know of its device; a CPU stands for the interpreter."""

import contextlib
from functools import cache

import torch


@cache
def multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2


def on(device: torch.device):
    """Makes the tensors' GPU the current one, on which Triton launches."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
