"""What becomes of a file's tensor in a module's place: judged by what will be stored there."""

from __future__ import annotations

import torch
from torch import Tensor

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def plain(tensor: Tensor) -> Tensor:
    """The tensor without its history and without attributes of a file, which can hide methods."""
    # Called by the class: a file may give a tensor an attribute `detach`, or any other.
    bare = Tensor.detach(tensor)
    # A subclass stays what it is, so that `peculiarity` can name it.
    return bare if type(bare) is Tensor else tensor


def peculiarity(tensor: Tensor) -> str:
    """What makes a tensor other than plain numbers in memory, such as "sparse"; else empty."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout is not torch.strided:
        return f"sparse ({tensor.layout})"
    if tensor.is_meta:
        return "on the meta device, which holds no values"
    if tensor.is_quantized:
        return f"quantized ({tensor.dtype})"
    return (
        ""
        if type(tensor) in (Tensor, torch.nn.Parameter)
        else f"of the class {type(tensor).__name__}"
    )


def misfit(tensor: Tensor, wanted: Tensor) -> str:
    """Why a tensor has no place in another's, whatever its shape and values; empty if it has.

    Integers and complex numbers are no weights where floating point is wanted. Nor are 8 bits of
    floating point, whose scales stand elsewhere.
    """
    if found := peculiarity(tensor):
        return found
    # Buffers that count may come as fractions; `store` looks whether these are whole.
    known = FLOATS if wanted.dtype.is_floating_point else (*FLOATS, *INTEGERS)
    if tensor.dtype in known or tensor.dtype == wanted.dtype:
        return ""
    return f"{_short(tensor.dtype)}, wanted {_short(wanted.dtype)}"


def store(tensor: Tensor, wanted: Tensor) -> tuple[Tensor, str]:
    """A tensor that is no misfit in the other's type, and what is wrong with its values there.

    The latter is empty if nothing is.
    """
    stored = tensor.to(wanted.dtype)
    if not (wanted.dtype.is_floating_point or wanted.dtype.is_complex):
        # There and back: NaN, fractions and numbers out of range do not come back as they were.
        same = bool((stored.to(tensor.dtype) == tensor).all())
        return (
            stored,
            "" if same else f"{_short(tensor.dtype)} that {_short(wanted.dtype)} does not hold",
        )
    if bool(stored.isfinite().all()):
        return stored, ""
    overflows = bool(tensor.isfinite().all())
    return stored, f"too large for {_short(wanted.dtype)}" if overflows else "NaN or infinity"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
