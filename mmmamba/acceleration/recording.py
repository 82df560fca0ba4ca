"""Recording what a function launches on a GPU, to launch it again without Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from mmmamba.ops.autocast import autocast_dtype
from mmmamba.ops.derivatives import unwatched

MIB = 2**20


def size_key(x: Tensor) -> tuple:
    """What one recording is good for: a shape, dtype, layout, and autocast's dtype."""
    return (x.shape, x.dtype, x.stride(), autocast_dtype(x))


class Recorder(Protocol):
    """Records functions, and says which inputs it can be asked for."""

    def takes(self, x: Tensor) -> bool:
        """Whether a pass over `x` can be replayed, and nobody wants to see its operators."""

    def prepare(self, run: Callable[[], None]) -> None:
        """Run a function once as it will be recorded, before it is."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """What does again all that `run` did, with the same tensors."""

    def recover(self) -> None:
        """Be ready for eager passes after a recording has failed."""

    def begin(self, x: Tensor) -> Measured:
        """Begin to measure an eager pass over `x`."""

    def reserved(self) -> int:
        """Bytes that are taken from the device."""

    def free(self) -> int:
        """Bytes that could still be had."""

    def release(self) -> None:
        """Give back what nobody uses."""

    def random_state(self) -> Tensor | None:
        """The state of the device's random numbers."""

    def set_random_state(self, state: Tensor | None) -> None:
        """Put it back."""


class Measured(Protocol):
    """An eager pass that is being measured."""

    def end(self) -> None:
        """The pass has been launched."""

    def waits(self) -> bool:
        """Whether the device waited for Python in it."""


class CudaRecorder:
    """Records as CUDA graphs, which all take their memory from one pool.

    What one graph leaves behind in it, the next one overwrites.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()

    @cached_property
    def stream(self) -> torch.cuda.Stream:
        # Always the same: memory of a pool is reused within a stream.
        return torch.cuda.Stream(self.device)

    def takes(self, x: Tensor) -> bool:
        return x.device == self.device and unwatched(x) and not _capturing()

    def prepare(self, run: Callable[[], None]) -> None:
        """Run on the stream of the captures: libraries set up their memory for it now."""
        with self._on_stream():
            run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with self._on_stream():
            # Other threads go on calling CUDA: a data loader's pins memory.
            graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")
            try:
                run()
            except BaseException:
                # What ending it has to say is that it has failed.
                with suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()
        return graph.replay

    def recover(self) -> None:
        torch.cuda.synchronize(self.device)
        # A capture that failed may be left open in two places. PyTorch has no public way to close
        # it there. The allocator goes on taking its memory from the pool:
        index = self.device.index or 0
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(index, self.pool)
            torch._C._cuda_releasePool(index, self.pool)
        self.pool = torch.cuda.graph_pool_handle()
        # And the generator counts for the graph: another state goes on from where it was.
        fresh = torch.Generator(self.device)
        fresh.set_state(torch.cuda.get_rng_state(self.device))
        state = fresh.graphsafe_get_state()
        torch.cuda.default_generators[index].graphsafe_set_state(state)

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)

    def begin(self, x: Tensor) -> Measured:
        return _Timed()

    def reserved(self) -> int:
        return torch.cuda.memory_reserved(self.device)

    def free(self) -> int:
        unused = self.reserved() - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + unused

    def release(self) -> None:
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()

    def random_state(self) -> Tensor | None:
        return torch.cuda.get_rng_state(self.device)

    def set_random_state(self, state: Tensor | None) -> None:
        if state is not None:
            torch.cuda.set_rng_state(state, self.device)


BUSY = 1.3
"""A pass that the GPU works on for so many times as long as Python launches it does not wait."""


class _Timed:
    """A pass between two events."""

    def __init__(self) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self._events[0].record()
        self._start = self._host = time.perf_counter()

    def end(self) -> None:
        self._host = time.perf_counter() - self._start
        self._events[1].record()

    def waits(self) -> bool:
        # By now the pass is long done; this waits for nothing.
        self._events[1].synchronize()
        seconds = self._events[0].elapsed_time(self._events[1]) / 1e3
        return seconds < BUSY * self._host


def _capturing() -> bool:
    """Whether somebody else's capture is under way, within which no other can begin."""
    return torch.cuda.is_current_stream_capturing()
