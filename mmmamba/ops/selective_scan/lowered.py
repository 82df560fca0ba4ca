"""The scan from operators that exporters and other compilers know, at any size of the map.

For files that run where this package is not: `selective_scan` as gathers, element-wise operators
and PyTorch's loop `torch.ops.higher_order.scan`, which becomes ONNX's `Scan`.
A loop's turn costs some microseconds whatever it computes, so a long sequence is cut into S
segments of P steps, which go side by side: one pass finds how each segment ends if it begins with
nothing, a loop over the segments carries the states on, and a second pass begins with these.

Shape suffixes: B images, L positions of the map, K routes of T steps, P steps of S segments, D
channels, N states, G = B K; R rows of a table with one for each image, position and route.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..lowering import constants
from ..softplus import softplus
from .common import ScanArgs

WIDE = 4
"""From so many states on decays are made within the loop: all at once they would fill memory."""
LANES = 16384
"""Numbers that a turn of a loop should have at least, so that it is not mostly overhead."""
SEGMENTS = 56
"""At most, as the loop over them costs too: the root of the steps of a map of 56 x 56."""


class Steps(NamedTuple):
    """Where the steps of the routes are among rows `(B L K)`, and positions among steps."""

    read_PSBK: Tensor
    """The row that a step reads; holes have K rows of their own behind the others."""
    place_BLK: Tensor
    """The row of `(P S B K)` that stands at a position; one row behind them where none does."""
    visited_LK: Tensor | None
    """1 where a route comes by; None if every route comes everywhere."""


def lowered_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    bias: Tensor | None,
    args: ScanArgs,
) -> Tensor:
    """y as a backend's `forward` gives it, computed in float32 (or float64, if A has it)."""
    dtype, index_KT, merge = torch.promote_types(A.dtype, torch.float32), args.index_KT, args.merge
    u, delta, B, C = (x.to(dtype) for x in (u, delta, B, C))
    batch, length, K, channels = delta.shape
    # In this order in memory too: a loop's state has to keep the strides that it begins with.
    A_KND = A.to(dtype).transpose(1, 2).contiguous()
    complete = index_KT is None or args.index_complete
    steps = length if index_KT is None else index_KT.shape[1]
    segments = 1 if A.shape[2] >= WIDE else _segments(A.numel(), steps)
    with constants(batch, length, steps, table=index_KT):
        found = _steps(index_KT, batch, length, K, segments, complete)

    raw_BLKD = delta if bias is None else delta + bias.to(dtype)
    delta_BLKD = softplus(raw_BLKD) if args.delta_softplus else raw_BLKD
    hole_KD = None if complete else _hole(bias, args.delta_softplus, delta_BLKD)
    du_BLKD = delta_BLKD * u
    C_PSBKN = _rows(C, None if complete else torch.zeros_like(C[0, 0]), found.read_PSBK)
    scan = _wide if A.shape[2] >= WIDE else _narrow
    y_PSBKD = scan(delta_BLKD, du_BLKD, A_KND, B, C_PSBKN, hole_KD, found.read_PSBK)

    rows_RD = y_PSBKD.flatten(0, 3)
    if not complete:
        rows_RD = F.pad(rows_RD, (0, 0, 0, 1))
    y_BLKD = rows_RD.index_select(0, found.place_BLK.flatten()).view(batch, length, K, channels)
    y = y_BLKD.sum(2, keepdim=True) if merge else y_BLKD
    if D is not None:
        y = y + _skip(u, D.to(dtype), found.visited_LK, merge)
    return y.to(args.out_dtype)


def _segments(lanes: int, steps: int) -> int:
    """S, by the numbers in one turn of a loop of one segment; 1 where a turn is wide already."""
    most = SEGMENTS if not isinstance(steps, int) else min(SEGMENTS, math.isqrt(steps))
    return max(1, min(most, LANES // lanes))


def _steps(
    index_KT: Tensor | None, batch: int, length: int, K: int, segments: int, complete: bool
) -> Steps:
    device = torch.device("cpu") if index_KT is None else index_KT.device
    if index_KT is None:
        index_KT = torch.arange(length, device=device).expand(K, length)
    index_KT = index_KT.long()
    T = index_KT.shape[1]
    P = (T + segments - 1) // segments
    if not isinstance(T, int):
        # Where it is 1 for the size that is traced, a tracer takes it for 1 at every size.
        P = P + 1
    lane_K = torch.arange(K, device=device)
    image_B = torch.arange(batch, device=device)

    # What fills the last segment reads some row: nothing reads what comes of it.
    padded_KX = F.pad(index_KT, (0, P * segments - T))
    index_PSK = padded_KX.view(K, segments, P).permute(2, 1, 0)
    rows_PSBK = (image_B[:, None] * length + index_PSK[:, :, None]) * K + lane_K
    if not complete:
        rows_PSBK = torch.where(index_PSK[:, :, None] < 0, batch * length * K + lane_K, rows_PSBK)

    # Where a step stands among P S: segments lie side by side.
    slot_T = torch.arange(P * segments, device=device).view(P, segments).t().flatten()[:T]
    slot_KT = slot_T.expand(K, T)
    visited_LK = None
    if complete:
        slot_LK = torch.zeros_like(index_KT).scatter(1, index_KT, slot_KT).t()
    else:
        # Holes all write to one more place, which is cut off.
        place_KT = torch.where(index_KT < 0, length, index_KT)
        nowhere = torch.full((K, length + 1), -1, dtype=torch.long, device=device)
        slot_LK = nowhere.scatter(1, place_KT, slot_KT)[:, :length].t()
        visited_LK = slot_LK >= 0
    place_BLK = (slot_LK * batch + image_B[:, None, None]) * K + lane_K
    if visited_LK is not None:
        place_BLK = torch.where(visited_LK, place_BLK, P * segments * batch * K)
    return Steps(rows_PSBK, place_BLK, visited_LK)


def _hole(bias: Tensor | None, delta_softplus: bool, like_BLKD: Tensor) -> Tensor:
    """The step size in a hole, `(K, D)`: that of the bias alone."""
    if bias is None:
        return torch.zeros_like(like_BLKD[0, 0])
    raw_KD = bias.to(like_BLKD.dtype)
    return softplus(raw_KD) if delta_softplus else raw_KD


def _rows(x: Tensor, hole: Tensor | None, read_PSBK: Tensor) -> Tensor:
    """`(B, L, K, ...)` step after step, `(P, S, B, K, ...)`; holes read `(K, ...)`."""
    rows = x.flatten(0, 2)
    if hole is not None:
        rows = torch.cat([rows, hole])
    return rows.index_select(0, read_PSBK.flatten()).view(*read_PSBK.shape, *x.shape[3:])


def _narrow(
    delta_BLKD: Tensor,
    du_BLKD: Tensor,
    A_KND: Tensor,
    B_BLKN: Tensor,
    C_PSBKN: Tensor,
    hole_KD: Tensor | None,
    read_PSBK: Tensor,
) -> Tensor:
    """`(P, S, B, K, D)` where there are few states: decays and drives of all steps are made."""
    decay = torch.exp(delta_BLKD.unsqueeze(3) * A_KND)
    drive = du_BLKD.unsqueeze(3) * B_BLKN.unsqueeze(4)
    faded = None if hole_KD is None else torch.exp(hole_KD.unsqueeze(1) * A_KND)
    nothing = None if hole_KD is None else torch.zeros_like(A_KND)
    decay_PSBKND = _rows(decay, faded, read_PSBK)
    drive_PSBKND = _rows(drive, nothing, read_PSBK)
    begin_SBKND = A_KND.new_zeros(drive_PSBKND.shape[1:])
    if read_PSBK.shape[1] > 1:
        begin_SBKND = _carried(decay_PSBKND, drive_PSBKND, begin_SBKND)
    h_PSBKND = _loop(_step, [begin_SBKND], [decay_PSBKND, drive_PSBKND])[1]
    read_PSBKND = h_PSBKND * C_PSBKN.unsqueeze(5)
    # A sum of one is a copy.
    return read_PSBKND.squeeze(4) if A_KND.shape[1] == 1 else read_PSBKND.sum(4)


def _carried(decay: Tensor, drive: Tensor, nothing: Tensor) -> Tensor:
    """The states with which segments begin, `(S, B, K, N, D)`."""
    ones = torch.ones_like(nothing)
    ends, faded = _loop(_step_and_decay, [nothing, ones], [decay, drive])
    return _loop(_step_before, [torch.zeros_like(ends[0])], [faded, ends])[1]


# In bodies of loops a product's first factor is the state: OpenVINO 2026.4 computes products in the
# memory of the first, and where that is an input of a turn the next turn's state is lost.
def _step(h: Tensor, decay: Tensor, drive: Tensor) -> list[Tensor]:
    h = h * decay + drive
    # A loop's state and its result may not be one tensor.
    return [h, h.clone()]


def _step_and_decay(h: Tensor, faded: Tensor, decay: Tensor, drive: Tensor) -> list[Tensor]:
    return [h * decay + drive, faded * decay]


def _step_before(h: Tensor, decay: Tensor, drive: Tensor) -> list[Tensor]:
    return [h * decay + drive, h.clone()]


def _wide(
    delta_BLKD: Tensor,
    du_BLKD: Tensor,
    A_KND: Tensor,
    B_BLKN: Tensor,
    C_PSBKN: Tensor,
    hole_KD: Tensor | None,
    read_PSBK: Tensor,
) -> Tensor:
    """`(P, 1, B, K, D)` where there are many states: those of one step at a time."""
    nothing_KD = None if hole_KD is None else torch.zeros_like(hole_KD)
    nothing_KN = None if hole_KD is None else torch.zeros_like(B_BLKN[0, 0])
    # A turn has one axis for images and routes, and all axes that it multiplies along: its work is
    # small, and each operator that only reshapes would cost as much as one that computes.
    batch, P = delta_BLKD.shape[0], read_PSBK.shape[0]
    delta, du, B_, C_ = (
        x.flatten(1, 3)
        for x in (
            _rows(delta_BLKD, hole_KD, read_PSBK),
            _rows(du_BLKD, nothing_KD, read_PSBK),
            _rows(B_BLKN, nothing_KN, read_PSBK),
            C_PSBKN,
        )
    )
    inputs = [delta.unsqueeze(2), du.unsqueeze(2), B_.unsqueeze(3), C_.unsqueeze(2)]
    A_GND = A_KND.expand(batch, *A_KND.shape).flatten(0, 1)
    y_PG1D = _loop(_wide_step, [torch.zeros_like(A_GND)], inputs, [A_GND])[1]
    return y_PG1D.view(P, 1, batch, len(A_KND), -1)


def _wide_step(
    h_GND: Tensor,
    delta_G1D: Tensor,
    du_G1D: Tensor,
    B_GN1: Tensor,
    C_G1N: Tensor,
    A_GND: Tensor,
) -> list[Tensor]:
    h_GND = h_GND * torch.exp(delta_G1D * A_GND) + du_G1D * B_GN1
    return [h_GND, torch.bmm(C_G1N, h_GND)]


def _loop(
    step: Callable, begin: list[Tensor], inputs: list[Tensor], fixed: Sequence[Tensor] = ()
) -> list:
    """States after the last turn, then what the turns gave, stacked."""
    return torch.ops.higher_order.scan(step, begin, inputs, tuple(fixed))


def _skip(u: Tensor, D_KD: Tensor, visited_LK: Tensor | None, merge: bool) -> Tensor:
    """D u where a route comes by, `(B, L, 1 or K, D)`."""
    if visited_LK is None:
        if merge and u.shape[2] == 1:
            return u * D_KD.sum(0)
        skip = u * D_KD
    elif merge and u.shape[2] == 1:
        return u * (visited_LK.to(u.dtype) @ D_KD).unsqueeze(1)
    else:
        skip = u * (visited_LK.to(u.dtype).unsqueeze(2) * D_KD)
    return skip.sum(2, keepdim=True) if merge else skip
