"""Compiled loops for the CPU (`cpu_kernels`): no C compiler needed, numba translates them on first use.

The loops release the GIL and run on a pool of Python threads, as many as `torch.get_num_threads()` says at the call.
"""

import functools
import importlib.util
import itertools
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from .common import ScanArgs, no_states, scan_dtype

# A batch of one is cut into up to this many tasks, whatever the number of threads: sums keep their order.
TASKS = 32
# Below this many state updates a second thread costs more than it saves.
SMALL = 1 << 16


def unavailable(device: torch.device) -> str | None:
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


def _padded(channels: int) -> int:
    lanes = _kernels().LANES
    return -(-channels // lanes) * lanes


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return (batch, routes, -(-steps // _kernels().CHUNK), d_state, _padded(channels))


class _Pool:
    """Threads kept from call to call; a forked child starts without any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor = None
        self._size = 0

    def submit(self, threads: int, work: Callable[[], None]):
        with self._lock:
            if self._size < threads:
                # The smaller pool ends by itself once its last work is done and nobody holds it.
                self._executor = ThreadPoolExecutor(threads, thread_name_prefix="mmmamba-scan")
                self._size = threads
            return self._executor.submit(work)


_pool = _Pool()


def _forget_threads() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _run(loops: Callable, tasks: int, work: int, *arguments) -> None:
    """Call loops(first, last, ...) over all tasks, in this thread and others."""
    threads = min(torch.get_num_threads(), tasks) if work >= SMALL else 1
    if threads <= 1:
        loops(0, tasks, *arguments)
        return
    # Several pieces for each thread: whoever is done first takes the next (`next` on a count is atomic).
    pieces = min(tasks, 4 * threads)
    turn = itertools.count()

    def take() -> None:
        for piece in iter(turn.__next__, None):
            if piece >= pieces:
                return
            loops(piece * tasks // pieces, (piece + 1) * tasks // pieces, *arguments)

    others = [_pool.submit(threads - 1, take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        for other in others:
            other.result()


def _flat(x: Tensor, dtype: torch.dtype):
    """A tensor (B, L, K, X) as its memory from first to last element, and the strides of B, L and K.

    A dimension of size 1 has stride 0: every route reads the same map, or adds to it.
    """
    x = x.detach().to(dtype)
    if (x.stride(3) != 1 and x.shape[3] > 1) or not x.numel():
        x = x.contiguous()
    at = tuple(0 if size == 1 else stride for size, stride in zip(x.shape[:3], x.stride()[:3]))
    extent = (
        x.numel() and sum((size - 1) * stride for size, stride in zip(x.shape[:3], at)) + x.shape[3]
    )
    return x.as_strided((extent,), (1,)).numpy(), at


def _table(index_KT: Tensor | None, length: int):
    if index_KT is None:
        return torch.empty(0, dtype=torch.int32).numpy()
    if index_KT.numel():
        low, high = (int(x) for x in index_KT.aminmax())
        if low < -1 or high >= length:
            raise IndexError(
                f"selective_scan: the index goes from {low} to {high}, but the map has positions 0 to "
                f"{length - 1}, and -1 is a hole"
            )
    return index_KT.to(torch.int32).contiguous().view(-1).numpy()


def _padded_rows(x: Tensor | None, routes: int, channels: int, dtype: torch.dtype):
    """(…, D) flat, channels padded with zeros; None is zeros."""
    if x is None:
        return torch.zeros(routes * _padded(channels), dtype=dtype).numpy()
    return (
        torch.nn.functional.pad(x.detach().to(dtype), (0, _padded(channels) - channels))
        .reshape(-1)
        .numpy()
    )


def _common(u, delta, A, B, C, D, bias, args: ScanArgs, dtype: torch.dtype):
    """Number of tasks, state updates, and the arguments both loops begin with."""
    batch, length, K, channels = delta.shape
    N, padded = A.shape[2], _padded(channels)
    steps = length if args.index_KT is None else args.index_KT.shape[1]
    groups = min(padded // _kernels().LANES, max(1, TASKS // max(1, batch)))
    A2_KND = (A.detach().to(dtype) * (1 / math.log(2))).transpose(1, 2)
    arguments = (
        (groups, length, K, steps, channels, N, padded),
        _table(args.index_KT, length),
        *_flat(u, dtype),
        *_flat(delta, dtype),
        _padded_rows(A2_KND, K, channels, dtype),
        *_flat(B, dtype),
        *_flat(C, dtype),
        _padded_rows(D, K, channels, dtype),
        _padded_rows(bias, K, channels, dtype),
        args.delta_softplus,
    )
    return groups, batch * steps * K * channels * N, arguments


def _sum(parts: Tensor, dim: int) -> Tensor:
    # torch would wake its OpenMP threads for this, which then spin for a while on the cores the scan needs next.
    return parts.squeeze(dim) if parts.shape[dim] == 1 else torch.from_numpy(parts.numpy().sum(dim))


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    dtype = scan_dtype(u, delta, A)
    batch, length, K, channels = delta.shape
    steps = length if args.index_KT is None else args.index_KT.shape[1]
    groups, work, arguments = _common(u, delta, A, B, C, D, bias, args, dtype)
    y = torch.empty(batch, length, 1 if args.merge else K, channels, dtype=dtype)
    states = no_states(u, delta, A)
    if keep_states:
        states = torch.empty(states_shape(batch, steps, K, channels, A.shape[2]), dtype=dtype)
    _run(
        _kernels().forward_loops,
        batch * groups,
        work,
        *arguments,
        *_flat(y, dtype),
        states.view(-1).numpy(),
    )
    return y.to(args.out_dtype), states


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    dtype = scan_dtype(u, delta, A)
    batch, length, K, channels = delta.shape
    N, padded = A.shape[2], _padded(channels)
    groups, work, arguments = _common(u, delta, A, B, C, D, bias, args, dtype)
    du, ddelta = torch.empty(u.shape, dtype=dtype), torch.empty(delta.shape, dtype=dtype)
    dA_BKNP = torch.empty(batch, K, N, padded, dtype=dtype)
    dD_BKP, dbias_BKP = (torch.empty(batch, K, padded, dtype=dtype) for _ in range(2))
    dB, dC = (torch.empty(batch, groups, length, K, N, dtype=dtype) for _ in range(2))
    _run(
        _kernels().backward_loops,
        batch * groups,
        4 * work,
        *arguments,
        *_flat(grad_y, dtype),
        states.view(-1).numpy(),
        *_flat(du, dtype),
        *_flat(ddelta, dtype),
        *(x.view(-1).numpy() for x in (dA_BKNP, dB, dC, dD_BKP, dbias_BKP)),
    )
    grads = (
        du,
        ddelta,
        _sum(dA_BKNP, 0).transpose(1, 2)[:, :channels],
        _sum(dB, 1),
        _sum(dC, 1),
        _sum(dD_BKP, 0)[:, :channels],
        _sum(dbias_BKP, 0)[:, :channels],
    )
    return tuple(
        None if x is None else g.to(x.dtype).contiguous()
        for g, x in zip(grads, (u, delta, A, B, C, D, bias))
    )
