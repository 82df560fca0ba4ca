"""Launching Triton kernels; a CPU stands for the interpreter.

Nothing here imports Triton, so that any module may ask.
"""

import contextlib
import importlib
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
    """Makes the tensors' GPU the current one."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(device)


class Plans(dict):
    """What was worked out for one set of sizes, strides and dtypes, by these.

    The second step of the same sizes then has nothing to work out. Sizes that hardly repeat would
    fill it, so it is emptied when it is full: what comes again is soon back.
    """

    FULL = 2048

    def keep(self, key: tuple, plan: Any) -> Any:
        """Puts a plan in and returns it."""
        if len(self) >= self.FULL:
            self.clear()
        self[key] = plan
        return plan


class _Triton(NamedTuple):
    """What the installed version can do."""

    takes_constants: bool
    """A compiled kernel is called with its constants too."""
    runs_directly: bool
    """`CompiledKernel.run` is known to take grid, stream, function, metadata, hooks, arguments."""
    hooks: Any
    """Where a profiler hangs the functions that it wants called at each launch."""


@cache
def _triton() -> _Triton:
    try:
        major, minor = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return _Triton(False, False, None)
    number = int(major), int(minor)
    from triton.compiler import CompiledKernel

    knobs = getattr(importlib.import_module("triton"), "knobs", None)
    # Of versions to come nobody knows whether they launch as these do. Theirs is the public way,
    # which does the same and asks for the device, the stream and the hooks on each call.
    return _Triton(
        takes_constants=number >= (3, 3),
        runs_directly=(3, 3) <= number <= (3, 8),
        hooks=CompiledKernel if knobs is None else knobs.runtime,
    )


def _hooked() -> bool:
    """Whether a profiler wants to be called at each launch."""
    hooks = _triton().hooks
    enter, leave = hooks.launch_enter_hook, hooks.launch_exit_hook
    # A function or None, and in newer versions an object with a list of functions.
    return bool(getattr(enter, "calls", enter) or getattr(leave, "calls", leave))


class _Compiled(NamedTuple):
    kernel: Any
    run: Any
    function: int
    metadata: Any


_COMPILED: dict[tuple, _Compiled] = {}


def _check_sizes(kernel, names: list[str], sizes: Mapping[str, int | float]) -> None:
    if set(names) != set(sizes):
        raise TypeError(
            f"{kernel.fn.__name__} is given {', '.join(sizes)}, wanted {', '.join(names)}"
        )
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
            f"{kernel.fn.__name__} is specialised on {', '.join(tied)}, which a Launch does not "
            "allow; name them in its do_not_specialize"
        )


class Launch:
    """A kernel with all that it is launched with but its tensors: made once, called often.

    Triton looks at each of some forty arguments on every call, which takes longer than many of
    these kernels. Here a compiled kernel is found by what it depends on: the tensors' dtypes and
    alignment, whether an integer exceeds 32 bits (no kernel is specialised on one otherwise), and
    the constants. So it is compiled once for all sizes, and one `Launch` remembers which it was.

    Args:
        kernel: declares tensors, then sizes, then constants.
        device: the tensors'.
        programs: the length of the grid.
        sizes: by the kernel's names for them.
        constants: the kernel's, and options of the compiler such as `num_warps`.

    Raises:
        TypeError: names that are not the kernel's, or a kernel that is specialised on one of
            `sizes`; it would be taken for other sizes.
    """

    __slots__ = ("constants", "device", "found", "kernel", "numbers", "programs", "tail", "tensors")

    def __init__(
        self,
        kernel: Any,
        device: torch.device,
        programs: int,
        sizes: Mapping[str, int | float],
        **constants: Any,
    ):
        names = kernel.arg_names
        # Options of the compiler are no arguments of the kernel.
        behind = len(names) - sum(name in constants for name in names)
        self.tensors = behind - len(sizes)
        _check_sizes(kernel, names[self.tensors : behind], sizes)
        self.kernel, self.device, self.programs, self.constants = (
            kernel,
            device,
            programs,
            constants,
        )
        self.numbers = [sizes[name] for name in names[self.tensors : behind]]
        self.tail = (*self.numbers, *[constants[name] for name in names[behind:]])
        # A kernel compiled for addresses that are multiples of 16 reads whole vectors there, and
        # would fail at any other. So this is by which of them are none, a bit for each.
        self.found: dict[int, _Compiled] = {}

    def __call__(self, *tensors: Tensor | None) -> None:
        """Runs the kernel on its tensors, in the order in which it declares them.

        Always of the same dtypes, and None in the same places: whoever keeps a `Launch` keeps it by
        these. The first is not None.
        """
        # Every microsecond here counts as often as there are kernels in a step. An address does as
        # well as its tensor, whose memory Triton would look up; what is not there has none.
        addresses = [0 if x is None else x.data_ptr() for x in tensors]
        odd = 0
        for address in addresses:
            odd += odd + (address & 15 != 0)
        found = self.found.get(odd)
        if found is None:
            self._run_first(tensors, odd)
            return
        index = self.device.index
        # The kernel is loaded on its tensors' GPU, which need not be the current one.
        if found.run is None or index != torch._C._cuda_getDevice() or _hooked():
            with on(self.device):
                # A compiled kernel takes a grid of exactly three sides.
                found.kernel[(self.programs, 1, 1)](*tensors, *self.tail)
            return
        stream = torch._C._cuda_getCurrentRawStream(index)
        # No metadata for hooks, and no hooks.
        head = (self.programs, 1, 1, stream, found.function, found.metadata, None, None, None)
        found.run(*head, *addresses, *self.tail)

    def _run_first(self, tensors: tuple[Tensor | None, ...], odd: int) -> None:
        """Runs a kernel that this `Launch` has not run yet, or not with such addresses."""
        if len(tensors) != self.tensors:
            raise TypeError(
                f"{self.kernel.fn.__name__} is given {len(tensors)} tensors, wanted {self.tensors}"
            )
        with on(self.device):
            if self.device.type != "cuda" or not _triton().takes_constants:
                self._compile(tensors)
                return
            dtypes = [None if x is None else x.dtype for x in tensors]
            small = max(self.numbers) < 2**31
            # Names of constants stand in the key, too: the same values may come for others.
            constants = (*self.constants, *self.constants.values())
            key = (id(self.kernel), self.device.index, small, odd, *dtypes, *constants)
            found = _COMPILED.get(key)
            if found is None:
                compiled = self._compile(tensors)
                # To ask for `run` loads the kernel, which launching it has done.
                run = compiled.run if _triton().runs_directly else None
                found = _Compiled(compiled, run, compiled.function, compiled.packed_metadata)
                _COMPILED[key] = found
            else:
                found.kernel[(self.programs, 1, 1)](*tensors, *self.tail)
            self.found[odd] = found

    def _compile(self, tensors: tuple[Tensor | None, ...]) -> Any:
        """Runs the kernel the public way, which compiles it first where it has to."""
        return self.kernel[(self.programs,)](*tensors, *self.numbers, **self.constants)
