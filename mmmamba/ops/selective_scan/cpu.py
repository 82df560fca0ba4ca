"""Compiled loops for the CPU (`cpu_kernels`), without a C compiler: numba translates them.

The loops release the GIL and run on a pool of Python threads, as many as `torch.get_num_threads()`
says at the call.
"""

import functools
import importlib.util
import itertools
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .common import ScanArgs, as_inputs, no_states, scan_dtype

TASKS = 32
"""A batch of one is cut into up to this many tasks, whatever the number of threads.

So sums keep their order.
"""
BLOCKS = 3
"""Blocks of channels in a task, at least: neighbours share the cache lines and pages of a row."""
SMALL = 1 << 16
"""Below this many state updates a second thread costs more than it saves."""


def unavailable(device: torch.device) -> str | None:
    """Why it cannot run: another device than the CPU, or no numba."""
    if device.type != "cpu":
        return f"it runs on the CPU, not on {device.type}"
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed (pip install numba)"
    return None


@functools.cache
def _kernels():
    # Importing numba takes about a second, which nobody else should pay for.
    from . import cpu_kernels

    return cpu_kernels


@functools.cache
def _loops(d_state: int):
    """The module of the loops for so many states."""
    if d_state != 1:
        return _kernels()
    from . import cpu_one_state

    return cpu_one_state


def _padded(channels: int) -> int:
    lanes = _kernels().LANES
    return -(-channels // lanes) * lanes


STATES_BY_IMAGE = True
"""Whether states are kept for each image, the first axis, so that they can be divided."""


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return (batch, routes, -(-steps // _kernels().CHUNK), d_state, _padded(channels))


class _Pool:
    """Threads kept from call to call; a forked child starts without any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._size = 0

    def submit(self, threads: int, work: Callable[[], None]) -> Future:
        with self._lock:
            if self._executor is None or self._size < threads:
                # The smaller pool ends by itself once its last work is done and nobody holds it.
                self._executor = ThreadPoolExecutor(threads, thread_name_prefix="mmmamba-scan")
                self._size = threads
            return self._executor.submit(work)


_pool = _Pool()


def _forget_threads() -> None:
    # All anew: threads do not survive a fork, and another may have held the lock just then.
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class _Job(NamedTuple):
    """A loop over tasks that write to different places."""

    loops: Callable
    arguments: dict[str, Any]
    tasks: int
    work: int
    """State updates of all tasks together."""

    def run(self, first: int, last: int) -> None:
        self.loops(first, last, **self.arguments)


def _run(job: _Job) -> None:
    """Runs all tasks, in this thread and others."""
    threads = min(torch.get_num_threads(), job.tasks) if job.work >= SMALL else 1
    if threads <= 1:
        job.run(0, job.tasks)
        return
    # Several pieces for each thread: whoever is done first takes the next (`next` on a count is
    # atomic).
    pieces = min(job.tasks, 4 * threads)
    turn = itertools.count()

    def take() -> None:
        for piece in iter(turn.__next__, None):
            if piece >= pieces:
                return
            job.run(piece * job.tasks // pieces, (piece + 1) * job.tasks // pieces)

    others = [_pool.submit(threads - 1, take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        # Even after an error here: the others still write into arrays that the caller would free.
        for other in others:
            other.result()


class _Flat(NamedTuple):
    """A tensor `(B, L, K, X)` as the loops take it.

    A dimension of size 1 has stride 0: every route reads the same map, or adds to it.
    """

    memory: np.ndarray
    """From its first to its last element."""
    at: tuple[int, int, int]
    """Strides of B, L and K."""


def _flat(x: Tensor, dtype: torch.dtype) -> _Flat:
    """A tensor in scan precision."""
    return _strided(x.detach().to(dtype))


def _read_only(x: Tensor, dtype: torch.dtype) -> _Flat:
    """A large tensor, of which the loops read bfloat16 as it is, as int16 of the same bits."""
    if x.dtype == torch.bfloat16 and dtype == torch.float32:
        return _strided(x.detach().view(torch.int16))
    return _flat(x, dtype)


def _strided(x: Tensor) -> _Flat:
    if (x.stride(3) != 1 and x.shape[3] > 1) or not x.numel():
        x = x.contiguous()
    strides = [0 if size == 1 else stride for size, stride in zip(x.shape[:3], x.stride()[:3])]
    # Gaps between rows are part of it: the loops step over them, and nothing is copied.
    extent = 0
    if x.numel():
        extent = x.shape[3]
        extent += sum((size - 1) * stride for size, stride in zip(x.shape[:3], strides))
    images, positions, routes = strides
    return _Flat(x.as_strided((extent,), (1,)).numpy(), (images, positions, routes))


def _named(**flats: _Flat) -> dict[str, Any]:
    """The arguments `x` and `x_at` of the loops for each x."""
    named: dict[str, Any] = {}
    for name, flat in flats.items():
        named[name], named[f"{name}_at"] = flat
    return named


def _table(index_KT: Tensor | None, length: int) -> np.ndarray:
    """The route table in one row; nothing for the plain order.

    Raises:
        IndexError: a position outside the map, which the loops would read all the same.
    """
    if index_KT is None:
        return torch.empty(0, dtype=torch.int32).numpy()
    if index_KT.numel():
        low, high = (int(x) for x in index_KT.aminmax())
        if low < -1 or high >= length:
            raise IndexError(
                f"selective_scan: the index goes from {low} to {high}, but the map has positions "
                f"0 to {length - 1}, and -1 is a hole"
            )
    return index_KT.to(torch.int32).contiguous().view(-1).numpy()


def _padded_rows(x: Tensor | None, routes: int, channels: int, dtype: torch.dtype) -> np.ndarray:
    """`(…, D)` flat, channels padded with zeros; None is zeros."""
    padded = _padded(channels)
    if x is None:
        return torch.zeros(routes * padded, dtype=dtype).numpy()
    # A copy in any case: memory that NumPy has seen can no longer be resized, and FSDP resizes that
    # of parameters.
    rows = x.detach().to(dtype, copy=True)
    if padded != channels:
        rows = torch.nn.functional.pad(rows, (0, padded - channels))
    return rows.reshape(-1).numpy()


def _groups(batch: int, channels: int) -> int:
    """Groups of channel blocks that each image is cut into: a task each."""
    blocks = _padded(channels) // _kernels().LANES
    return max(1, min(blocks // BLOCKS, TASKS // max(1, batch)))


def _inputs(u, delta, A, B, C, D, bias, args: ScanArgs, dtype: torch.dtype) -> dict[str, Any]:
    """What both loops take."""
    batch, length, K, channels = delta.shape
    N = A.shape[2]
    steps = length if args.index_KT is None else args.index_KT.shape[1]
    groups = _groups(batch, channels)
    # In units of log(2): the loops' exponential is a power of two.
    A2_KND = (A.detach().to(dtype) * (1 / math.log(2))).transpose(1, 2)
    return dict(
        sizes=(groups, length, K, steps, channels, N, _padded(channels)),
        index=_table(args.index_KT, length),
        **_named(
            u=_read_only(u, dtype),
            delta=_read_only(delta, dtype),
            B=_flat(B, dtype),
            C=_flat(C, dtype),
        ),
        A2_KNP=_padded_rows(A2_KND, K, channels, dtype),
        skip_KP=_padded_rows(D, K, channels, dtype),
        bias_KP=_padded_rows(bias, K, channels, dtype),
        use_softplus=args.delta_softplus,
    )


def _updates(delta: Tensor, A: Tensor, args: ScanArgs) -> int:
    """How many states are computed, one after the other."""
    batch, length, K, channels = delta.shape
    steps = length if args.index_KT is None else args.index_KT.shape[1]
    return batch * steps * K * channels * A.shape[2]


def _sum(parts: Tensor, dim: int) -> Tensor:
    # torch would wake its OpenMP threads for this, which then spin for a while on the cores the
    # scan needs next.
    return parts.squeeze(dim) if parts.shape[dim] == 1 else torch.from_numpy(parts.numpy().sum(dim))


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    dtype = scan_dtype(u, delta, A)
    batch, length, K, channels = delta.shape
    steps = length if args.index_KT is None else args.index_KT.shape[1]
    y = torch.empty(batch, length, 1 if args.merge else K, channels, dtype=dtype)
    states = no_states(u, delta, A)
    if keep_states:
        states = torch.empty(states_shape(batch, steps, K, channels, A.shape[2]), dtype=dtype)
    arguments = _inputs(u, delta, A, B, C, D, bias, args, dtype)
    # y is dense and of this dtype, so that `_flat` is a view, through which the loops write.
    arguments |= _named(y=_flat(y, dtype)) | dict(states=states.view(-1).numpy())
    tasks = batch * _groups(batch, channels)
    _run(_Job(_loops(A.shape[2]).forward_loops, arguments, tasks, _updates(delta, A, args)))
    return y.to(args.out_dtype), states


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    dtype = scan_dtype(u, delta, A)
    batch, length, K, channels = delta.shape
    N, padded, groups = A.shape[2], _padded(channels), _groups(batch, channels)
    # As the step sizes lie, which are usually a matrix a route: their product's gradients are
    # products of these, and slow ones across the routes.
    du, ddelta = torch.empty(u.shape, dtype=dtype), torch.empty_like(delta, dtype=dtype)
    if ddelta.stride(3) != 1:
        # The loops write rows of channels.
        ddelta = torch.empty(delta.shape, dtype=dtype)
    # Sums over images, and over groups of channels, are written in parts: no two tasks add to one
    # number.
    dA_BKNP = torch.empty(batch, K, N, padded, dtype=dtype)
    dskip_BKP = torch.empty(batch, K, padded, dtype=dtype)
    dbias_BKP = torch.empty(batch, K, padded, dtype=dtype)
    dB = torch.empty(batch, groups, length, K, N, dtype=dtype)
    dC = torch.empty(batch, groups, length, K, N, dtype=dtype)
    parts = dict(dA_BKNP=dA_BKNP, dB=dB, dC=dC, dskip_BKP=dskip_BKP, dbias_BKP=dbias_BKP)
    arguments = _inputs(u, delta, A, B, C, D, bias, args, dtype)
    arguments |= _named(
        dy=_read_only(grad_y, dtype), du=_flat(du, dtype), ddelta=_flat(ddelta, dtype)
    )
    arguments |= {name: x.view(-1).numpy() for name, x in parts.items()}
    arguments["states"] = states.view(-1).numpy()
    work = 4 * _updates(delta, A, args)
    _run(_Job(_loops(N).backward_loops, arguments, batch * groups, work))
    grads = (
        du,
        ddelta,
        _sum(dA_BKNP, 0).transpose(1, 2)[:, :channels],
        _sum(dB, 1),
        _sum(dC, 1),
        _sum(dskip_BKP, 0)[:, :channels],
        _sum(dbias_BKP, 0)[:, :channels],
    )
    found = as_inputs(grads, (u, delta, A, B, C, D, bias))
    # The first two are large, and as dense as their inputs.
    return *found[:2], *(None if x is None else x.contiguous() for x in found[2:])
