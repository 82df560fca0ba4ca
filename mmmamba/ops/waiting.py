"""What is read back from a GPU, and what is copied to it, without stopping it.

And constants that are on it already: `torch.arange` and a number in `torch.where` launch a kernel
each time.
"""

from functools import lru_cache

import torch
from torch import Tensor


def costs_a_wait(x: Tensor) -> bool:
    """Whether Python has to wait for what x holds; on a CPU it is there."""
    return x.device.type != "cpu"


class Readback:
    """Numbers on their way from the GPU; meanwhile more work can be launched."""

    def __init__(self, values: Tensor):
        self._values, self._arrived = values, None
        if values.is_cuda:
            # Only memory that is never swapped out is written to while Python goes on.
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(values.device))

    def tolist(self) -> list:
        """The numbers, waited for."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values.tolist()


def on_device(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device, copied once; sizes of images and settings come again and again."""
    # What a compiler makes stands for numbers that are not there yet: nothing to keep.
    if torch.compiler.is_compiling():
        return torch.tensor(values, dtype=dtype, device=device)
    return _on_device(values, dtype, device)


@lru_cache(maxsize=256)
def _on_device(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Kept for passes that train, even if the first one that asks does not.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def places(length: int, device: torch.device, dtype: torch.dtype = torch.long) -> Tensor:
    """0, 1, 2, … `(length,)` on a device. Not to be written to."""
    if torch.compiler.is_compiling():
        return torch.arange(length, device=device, dtype=dtype)
    return _places(length, device, dtype)


@lru_cache(maxsize=256)
def _places(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.arange(length, device=device, dtype=dtype)


def where(keep: Tensor, x: Tensor, other: float) -> Tensor:
    """`x` where it is kept, a number elsewhere."""
    return torch.where(keep, x, on_device((other,), x.dtype, x.device))
