"""Launching Triton kernels; a CPU stands for the interpreter.

Nothing here imports Triton, so that any module may ask.
"""

import contextlib
import importlib.util
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from torch import Tensor

HAS_TRITON = importlib.util.find_spec("triton") is not None and torch.version.hip is None
"""Kernels use instructions and options of NVIDIA's GPUs, which ROCm does not have."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What the kernels read and write; they compute in float32."""


@cache
def multiprocessors(device: torch.device) -> int:
    """How many programs a GPU runs side by side at least; 2 for the interpreter."""
    if device.type != "cuda":
        return 2
    return torch.cuda.get_device_properties(device).multi_processor_count


def ceil_div(number: int, by: int) -> int:
    """The number of blocks of size `by` that cover `number` elements."""
    return -(-number // by)


def on(device: torch.device) -> AbstractContextManager:
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


class _Compiled(NamedTuple):
    kernel: Any
    constants: list
    """Their values, in the order in which the kernel declares them."""


_COMPILED: dict[tuple, _Compiled] = {}


def _check_sizes(kernel, sizes: Mapping[str, int | float]) -> None:
    # The interpreter's kernels keep what they were declared with elsewhere.
    free = (
        kernel.kwargs["do_not_specialize"]
        if hasattr(kernel, "kwargs")
        else kernel.do_not_specialize
    )
    numbers = [name for name, size in sizes.items() if isinstance(size, int)]
    tied = [name for name in numbers if name not in (free or ())]
    if tied:
        raise TypeError(
            f"{kernel.fn.__name__} is specialised on {', '.join(tied)}, which launch() does not "
            "allow; name them in its do_not_specialize"
        )


def _in_order(names: list[str], arguments: Mapping[str, Any], kernel) -> list:
    """The arguments' values as the kernel declares them."""
    try:
        return [arguments[name] for name in names]
    except KeyError:
        raise TypeError(
            f"{kernel.fn.__name__} is given {', '.join(arguments)}, wanted {', '.join(names)}"
        ) from None


def launch(
    kernel,
    programs: int,
    tensors: Mapping[str, Tensor | None],
    sizes: Mapping[str, int | float],
    **constants,
) -> None:
    """Runs `kernel[(programs,)](**tensors, **sizes, **constants)`, compiled once for all sizes.

    Triton looks at each of some forty arguments on every call, which takes longer than many of
    these kernels. Here a compiled kernel is found by what it depends on: the tensors' dtypes and
    alignment, whether an integer exceeds 32 bits (no kernel is specialised on one otherwise), and
    the constants.

    Args:
        programs: the length of the grid.
        tensors: by the kernel's names for them; the one it declares first is not None.
        sizes: likewise; the kernel declares them behind the tensors, before its constants.
        constants: the kernel's, and options of the compiler such as `num_warps`.

    Raises:
        TypeError: names that are not the kernel's, or a kernel that is specialised on one of
            `sizes`; it would be taken for other sizes.
    """
    # Every microsecond here counts as often as there are kernels in a step.
    names, behind = kernel.arg_names, len(tensors) + len(sizes)
    given = _in_order(names[: len(tensors)], tensors, kernel)
    numbers = _in_order(names[len(tensors) : behind], sizes, kernel)
    first = given[0]
    if not (first.is_cuda and _takes_constants()):
        _check_sizes(kernel, sizes)
        kernel[(programs,)](*given, *numbers, **constants)
        return
    # A kernel compiled for addresses that are multiples of 16 reads whole vectors there, and would
    # fail at any other.
    kinds = [x if x is None else (x.dtype, x.data_ptr() % 16 == 0) for x in given]
    small = max(numbers) < 2**31
    # A compiled kernel is loaded on one GPU, hence the device. Names of constants stand in the key,
    # too: the same values may come for others.
    key = (id(kernel), first.device.index, small, *kinds, *constants, *constants.values())
    found = _COMPILED.get(key)
    if found is None:
        _check_sizes(kernel, sizes)
        compiled = kernel[(programs,)](*given, *numbers, **constants)
        _COMPILED[key] = _Compiled(compiled, [constants[name] for name in names[behind:]])
        return
    # A compiled kernel takes a grid of exactly three sides, and runs on the current device: callers
    # choose it by `on`.
    found.kernel[(programs, 1, 1)](*given, *numbers, *found.constants)
