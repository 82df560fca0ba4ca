"""Launching Triton kernels; a CPU stands for the interpreter. Imports Triton nowhere, so that any module may ask."""

import contextlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

HAS_TRITON = importlib.util.find_spec("triton") is not None and torch.version.hip is None
"""Kernels use instructions and options of NVIDIA's GPUs, which ROCm does not have."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What the kernels read and write; they compute in float32."""


@cache
def multiprocessors(device: torch.device) -> int:
    return (
        torch.cuda.get_device_properties(device).multi_processor_count
        if device.type == "cuda"
        else 2
    )


def on(device: torch.device):
    """Makes the tensors' GPU the current one, on which Triton launches."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(device)


@cache
def _takes_constants() -> bool:
    """Whether a compiled kernel is called with its constants too, as from Triton 3.3 on."""
    try:
        major, minor = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (3, 3)


_COMPILED: dict[tuple, tuple] = {}


def _check_sizes(kernel, tensors: int, sizes: Sequence[int | float]) -> None:
    # The interpreter's kernels keep what they were declared with elsewhere.
    free = (
        kernel.kwargs["do_not_specialize"]
        if hasattr(kernel, "kwargs")
        else kernel.do_not_specialize
    )
    names = kernel.arg_names[tensors : tensors + len(sizes)]
    tied = [
        name
        for name, size in zip(names, sizes)
        if isinstance(size, int) and name not in (free or ())
    ]
    if tied:
        raise TypeError(
            f"{kernel.fn.__name__} is specialised on {', '.join(tied)}, which launch() does not allow; "
            "name them in its do_not_specialize"
        )


def launch(
    kernel, blocks: int, tensors: Sequence[Tensor | None], sizes: Sequence[int | float], **constants
) -> None:
    """`kernel[(blocks,)](*tensors, *sizes, **constants)`, with the compiled kernel found by what it depends on.

    Triton looks at each of some forty arguments on every call, which takes longer than many of these kernels. They
    depend on the tensors' dtypes and alignment, on whether an integer exceeds 32 bits (no kernel is specialised on one
    otherwise), and on the constants.

    Raises:
        TypeError: a kernel that is specialised on one of `sizes`; it would be taken for other sizes.
    """
    if not (tensors[0].is_cuda and _takes_constants()):
        _check_sizes(kernel, len(tensors), sizes)
        kernel[(blocks,)](*tensors, *sizes, **constants)
        return
    kinds = [x if x is None else (x.dtype, x.data_ptr() % 16 == 0) for x in tensors]
    key = (id(kernel), tensors[0].device.index, max(sizes) < 2**31, *kinds, *constants.values())
    found = _COMPILED.get(key)
    if found is None:
        _check_sizes(kernel, len(tensors), sizes)
        compiled = kernel[(blocks,)](*tensors, *sizes, **constants)
        given = len(tensors) + len(sizes)
        _COMPILED[key] = compiled, [constants[name] for name in kernel.arg_names[given:]]
        return
    compiled, last = found
    compiled[(blocks, 1, 1)](*tensors, *sizes, *last)
