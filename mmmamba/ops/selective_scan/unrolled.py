"""The scan from PyTorch's operators without a loop, for compilers that make one kernel of many.

A loop of PyTorch's (`torch.ops.higher_order.scan`) calls a few small kernels in each turn: under
AOTInductor a map of 56 x 56 takes 40 times as long so as with a kernel written for it. Here steps
are cut into groups of a few, which are written out one after another while all groups go side by
side: a compiler makes one kernel of them, with the states in registers. The states with which
groups begin are a prefix scan over groups of the pairs (decay, drive), by doubling: after a turn a
pair stands for twice as many groups.

Shape suffixes: B images, L positions of the map, K routes of T steps, P groups of S steps, D
channels, N states.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..lowering import constants
from ..softplus import softplus
from .common import ScanArgs

GROUP = 8
"""Steps of a group: more make kernels that take longer to compile, fewer leave more of them."""
MOST_STEPS = 2**20
"""The longest route of a map whose size is a symbol: how often to double has to be a number."""


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
    with constants(length, steps, table=index_KT):
        read_XK, place_LK = _tables(index_KT, length, K, delta.device)

    lane_K = torch.arange(K, device=delta.device)
    here_XK1 = None if complete else (read_XK >= 0).unsqueeze(2)

    def along(x_BLKX: Tensor) -> Tensor:
        """What each route meets, `(B, P, S, K, X)`; a hole meets zeros."""
        x_BLKX = x_BLKX.expand(-1, -1, K, -1)
        if here_XK1 is None:
            x_BXKX = x_BLKX[:, read_XK, lane_K]
        else:
            x_BXKX = x_BLKX[:, read_XK.clamp(min=0), lane_K] * here_XK1.to(dtype)
        return x_BXKX.unflatten(1, (-1, GROUP))

    raw = along(delta)
    if bias is not None:
        raw = raw + bias.to(dtype)
    # In a hole the step size is the bias alone: it drives nothing, but the state fades there.
    delta_BPSKD = softplus(raw) if args.delta_softplus else raw
    du_BPSKD, B_BPSKN, C_BPSKN = delta_BPSKD * along(u), along(B), along(C)
    decays = [torch.exp(x.unsqueeze(4) * A_KDN) for x in delta_BPSKD.unbind(2)]
    drives = [
        x.unsqueeze(4) * b.unsqueeze(3) for x, b in zip(du_BPSKD.unbind(2), B_BPSKN.unbind(2))
    ]
    ends_BPKDN = _states(drives[0], decays[1:], drives[1:])[-1]
    fades_BPKDN = torch.exp(delta_BPSKD.sum(2).unsqueeze(4) * A_KDN)
    begin_BPKDN = _before_each(fades_BPKDN, ends_BPKDN, _doublings(steps))
    states = _states(begin_BPKDN, decays, drives)[1:]
    outputs = [(h * c.unsqueeze(3)).sum(4) for h, c in zip(states, C_BPSKN.unbind(2))]
    y_BXKD = torch.stack(outputs, 2).flatten(1, 2)

    y_BLKD = y_BXKD[:, place_LK.clamp(min=0), lane_K]
    if D is not None:
        y_BLKD = y_BLKD + u * D.to(dtype)
    if not complete:
        y_BLKD = y_BLKD * (place_LK >= 0).unsqueeze(2).to(dtype)
    return (y_BLKD.sum(2, keepdim=True) if args.merge else y_BLKD).to(args.out_dtype)


def _tables(
    index_KT: Tensor | None, length: int, K: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The position of each step `(P S, K)`, the step at each position `(L, K)`; -1 for none."""
    if index_KT is None:
        order_LK = torch.arange(length, device=device)[:, None].expand(-1, K)
        return _whole(order_LK[_filled(length, device)]), _whole(order_LK)
    index_KT = index_KT.long()
    steps = index_KT.shape[1]
    step_KT = torch.arange(steps, device=device).expand(K, -1)
    # Holes all write to one more place, which is cut off.
    where_KT = torch.where(index_KT < 0, length, index_KT)
    nowhere = torch.full((K, length + 1), -1, dtype=torch.long, device=device)
    place_KL = nowhere.scatter(1, where_KT, step_KT)[:, :length]
    return _whole(index_KT.t()[_filled(steps, device)]), _whole(place_KL.t())


def _whole(table: Tensor) -> Tensor:
    """No view of more: files hold constants as they lie in memory."""
    return table.clone(memory_format=torch.contiguous_format)


def _filled(steps: int, device: torch.device) -> Tensor:
    """Steps for whole groups; what fills the last one repeats the end, and nothing reads it.

    Rows of zeros would do, but to read past the end is slow for compilers.
    """
    groups = _named((steps + GROUP - 1) // GROUP)
    return torch.arange(groups * GROUP, device=device).clamp(max=steps - 1)


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


def _doublings(steps: int) -> int:
    if not isinstance(steps, int):
        torch._check(steps <= MOST_STEPS)
        steps = MOST_STEPS
    return ((steps - 1) // GROUP).bit_length()


def _states(h: Tensor, decays: Sequence[Tensor], drives: Sequence[Tensor]) -> list[Tensor]:
    """The state that is given, and those after each step, of all groups `(B, P, K, D, N)`."""
    states = [h]
    for decay, drive in zip(decays, drives):
        states.append(torch.addcmul(drive, decay, states[-1]))
    return states


def _before_each(decay: Tensor, drive: Tensor, doublings: int) -> Tensor:
    """The states with which groups begin, `(B, P, K, D, N)`, from each group's decay and end."""
    group_P = torch.arange(decay.shape[1], device=decay.device)

    def earlier(hop: int) -> tuple[Tensor, Tensor]:
        """The groups so many before, and 1 where there is one."""
        before_P = group_P - hop
        return before_P.clamp(min=0), (before_P >= 0).to(drive.dtype)[:, None, None, None]

    for doubling in range(doublings):
        before_P, there = earlier(2**doubling)
        drive = drive + decay * drive[:, before_P] * there
        # Where none is before, no later turn looks at the decay.
        decay = decay * decay[:, before_P]
    before_P, there = earlier(1)
    return drive[:, before_P] * there
