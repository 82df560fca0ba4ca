"""The scan from PyTorch's operators without a loop, for compilers that make one kernel of many.

A loop of PyTorch's (`torch.ops.higher_order.scan`) calls a few small kernels in each turn: under
AOTInductor a map of 56 x 56 took 44 times as long so as with a kernel written for it, and this
takes 3 times as long. Steps are cut into groups of S, whose steps are written out one after another
while all groups go side by side: a compiler makes one kernel of them, that keeps the states in
registers. Groups are steps again, of how far a group fades and where it ends from nothing: the
states with which they begin come from the same, S times shorter, until there is one group.

Shape suffixes: B images, L positions of the map, K routes of T steps, P groups of S steps, D
channels, N states.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from ..lowering import beside_tracing
from .common import ScanArgs

GROUP = 8
"""Steps of a group: more make the kernels longer to compile, fewer leave more of them."""
ANY_GROUP, ANY_LEVELS = 16, 5
"""The same where the number of steps is a symbol, and how often groups are made: 2^20 steps."""


class Cut(NamedTuple):
    """How steps are cut into groups."""

    group: int
    levels: int


def unrolled_scan(
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
    dtype = torch.promote_types(A.dtype, torch.float32)
    u, delta, A_KDN, B, C = (x.to(dtype) for x in (u, delta, A, B, C))
    length, K, index_KT = delta.shape[1], A.shape[0], args.index_KT
    complete = index_KT is None or args.index_complete
    steps = length if index_KT is None else index_KT.shape[1]
    cut = _cut_of(steps)
    known = isinstance(length, int) and isinstance(steps, int)
    # Of a map whose size is known these are constants.
    with beside_tracing() if known and _holds_numbers(index_KT) else nullcontext():
        read_XK, place_LK = _tables(index_KT, length, K, cut.group, delta.device)

    lane_K = torch.arange(K, device=delta.device)
    here_XK1 = None if complete else (read_XK >= 0).unsqueeze(2)

    def along(x_BLKX: Tensor) -> Tensor:
        """What each route meets, `(B, P, S, K, X)`; a hole meets zeros."""
        x_BLKX = x_BLKX.expand(-1, -1, K, -1)
        if here_XK1 is None:
            x_BXKX = x_BLKX[:, read_XK, lane_K]
        else:
            x_BXKX = x_BLKX[:, read_XK.clamp(min=0), lane_K] * here_XK1.to(dtype)
        return x_BXKX.unflatten(1, (-1, cut.group))

    raw = along(delta)
    if bias is not None:
        raw = raw + bias.to(dtype)
    # In a hole the step size is the bias alone: it drives nothing, but the state fades there.
    delta_BPSKD = softplus(raw) if args.delta_softplus else raw
    du_BPSKD, B_BPSKN, C_BPSKN = delta_BPSKD * along(u), along(B), along(C)
    drives = [
        du.unsqueeze(4) * weight.unsqueeze(3)
        for du, weight in zip(du_BPSKD.unbind(2), B_BPSKN.unbind(2))
    ]
    h_BPKDN = _entering(delta_BPSKD.sum(2), _last(delta_BPSKD, drives, A_KDN), A_KDN, cut)
    states = _states(h_BPKDN, delta_BPSKD, drives, A_KDN)
    outputs = [(h * c.unsqueeze(3)).sum(4) for h, c in zip(states, C_BPSKN.unbind(2))]
    y_BXKD = torch.stack(outputs, 2).flatten(1, 2)

    y_BLKD = y_BXKD[:, place_LK.clamp(min=0), lane_K]
    if D is not None:
        y_BLKD = y_BLKD + u * D.to(dtype)
    if not complete:
        y_BLKD = y_BLKD * (place_LK >= 0).unsqueeze(2).to(dtype)
    return (y_BLKD.sum(2, keepdim=True) if args.merge else y_BLKD).to(args.out_dtype)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), exact to the last bits for any x.

    By a logarithm of 1 + e whose rounding is put right (Kahan): Inductor's `log1p` goes number by
    number on a CPU, and would take most of a scan's time.
    """
    e = torch.exp(-x.abs())
    sum_of_both = 1 + e
    lost = (sum_of_both - 1) - e
    return x.clamp(min=0) + (torch.log(sum_of_both) - lost / sum_of_both)


def _cut_of(steps: int) -> Cut:
    if not isinstance(steps, int):
        torch._check(steps <= ANY_GROUP**ANY_LEVELS)
        return Cut(ANY_GROUP, ANY_LEVELS)
    levels = 1
    while GROUP**levels < steps:
        levels += 1
    return Cut(GROUP, levels)


def _holds_numbers(table: Tensor | None) -> bool:
    return table is None or type(table) is Tensor


def _tables(
    index_KT: Tensor | None, length: int, K: int, group: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The position of each step `(P S, K)`, the step at each position `(L, K)`; -1 for none."""
    if index_KT is None:
        order_L = torch.arange(length, device=device)
        place_LK = order_L[:, None].expand(-1, K)
        return place_LK[_filled(length, group, device)], place_LK
    index_KT = index_KT.long()
    steps = index_KT.shape[1]
    step_KT = torch.arange(steps, device=device).expand(K, -1)
    # Holes all write to one more place, which is cut off.
    where_KT = torch.where(index_KT < 0, length, index_KT)
    nowhere = torch.full((K, length + 1), -1, dtype=torch.long, device=device)
    place_KL = nowhere.scatter(1, where_KT, step_KT)[:, :length]
    return index_KT.t()[_filled(steps, group, device)], place_KL.t()


def _filled(steps: int, group: int, device: torch.device) -> Tensor:
    """Steps for whole groups; what fills the last one repeats the end, and nothing reads it.

    Rows of zeros would do, but to read past the end is slow for compilers.
    """
    groups = _named((steps + group - 1) // group)
    return torch.arange(groups * group, device=device).clamp(max=steps - 1)


def _named(count: int) -> int:
    """A count that is an expression of symbols as a symbol of its own.

    Else it would be compared with others at each operator, which takes a tracer seconds, and be
    taken not to be 1 where it was not for the traced size.
    """
    if isinstance(count, int):
        return count
    named = torch.full((), count, dtype=torch.long).item()
    torch._check(named >= 1)
    return named


def _entering(delta_BTKD: Tensor, drive_BTKDN: Tensor, A_KDN: Tensor, cut: Cut) -> Tensor:
    """The states before each of T steps, from nothing before the first."""
    steps, device = delta_BTKD.shape[1], delta_BTKD.device
    if cut.levels <= 2:
        # One group is left, of as many steps as there are, or at most.
        group = steps if isinstance(steps, int) else cut.group
        filled = torch.arange(group, device=device).clamp(max=steps - 1)
        delta_BPSKD, drive_BPSKDN = (
            x[:, filled].unsqueeze(1) for x in (delta_BTKD, drive_BTKDN)
        )
        h_BPKDN = torch.zeros_like(drive_BPSKDN[:, :, 0])
    else:
        filled = _filled(steps, cut.group, device)
        delta_BPSKD, drive_BPSKDN = (
            x[:, filled].unflatten(1, (-1, cut.group)) for x in (delta_BTKD, drive_BTKDN)
        )
        ends = _last(delta_BPSKD, drive_BPSKDN.unbind(2), A_KDN)
        fewer = Cut(cut.group, cut.levels - 1)
        h_BPKDN = _entering(delta_BPSKD.sum(2), ends, A_KDN, fewer)
    states = _states(h_BPKDN, delta_BPSKD, drive_BPSKDN.unbind(2), A_KDN)
    before_BXKDN = torch.stack([h_BPKDN, *states[:-1]], 2).flatten(1, 2)
    # By their numbers, as a slice of a symbolic length would be taken for a condition.
    return before_BXKDN[:, torch.arange(steps, device=device)]


def _last(delta_BPSKD: Tensor, drives, A_KDN: Tensor) -> Tensor:
    """How each group ends that begins with nothing."""
    h_BPKDN = drives[0]
    return _states(h_BPKDN, delta_BPSKD[:, :, 1:], drives[1:], A_KDN)[-1]


def _states(h_BPKDN: Tensor, delta_BPSKD: Tensor, drives, A_KDN: Tensor) -> list[Tensor]:
    """The states of all groups after each of their steps."""
    states = []
    for delta_BPKD, drive_BPKDN in zip(delta_BPSKD.unbind(2), drives):
        h_BPKDN = torch.exp(delta_BPKD.unsqueeze(4) * A_KDN) * h_BPKDN
        h_BPKDN = h_BPKDN + drive_BPKDN
        states.append(h_BPKDN)
    return states
