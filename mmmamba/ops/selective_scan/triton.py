"""The scan on a GPU, in Triton: routes walked in place, side by side in chunks where they are few.

Where batch, routes and blocks of channels fill the card, one program walks a whole route. Else
routes are cut into chunks: a first pass walks each from a zero state and leaves its end and its sum
of delta, a small kernel carries the states from chunk to chunk, and the second pass walks the
chunks again from the states that enter them.

Outputs that are to be merged are written for each route in float32 and added in order, or, of large
maps, each on top of those before; sums over channels, batch and chunks (dB, dC, dA, dD, dbias) are
likewise written in parts. So the result is bit-equal from run to run. Between forward and backward
only the states that enter every eighth or sixteenth step stay.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..launch import HAS_TRITON, ceil_div, launch, multiprocessors, on
from .common import ScanArgs, no_states
from .triton_choice import (
    INTERPRETED,
    LANES,
    Cut,
    Tile,
    choose_cut,
    choose_tile,
    routes_one_by_one,
    tiling,
)
from .triton_problem import Problem, contiguous_rows, make_problem, named_strides


def unavailable(device: torch.device) -> str | None:
    """Why it cannot run: no Triton, no CUDA device (save in the interpreter), or too old a GPU."""
    # First: HAS_TRITON is false on ROCm too, but not for want of a package.
    if torch.version.hip is not None:
        return "its kernels hold instructions of NVIDIA's GPUs, and this PyTorch is built for ROCm"
    if not HAS_TRITON:
        return "triton is not installed (pip install triton)"
    if device.type == "cpu" and INTERPRETED:
        return None
    if device.type != "cuda":
        return f"its kernels are for CUDA, not {device.type}"
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    capability = torch.cuda.get_device_capability(device)
    if capability < (7, 0):
        found = ".".join(map(str, capability))
        return f"it needs compute capability 7.0, {torch.cuda.get_device_name(device)} has {found}"
    return None


STATES_BY_IMAGE = True
"""Whether states are kept for each image, the first axis, so that they can be divided."""


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return (batch, routes, ceil_div(steps, tiling(d_state).steps), d_state, channels)


def _float32(p: Problem, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=p.u.device)


class _States(NamedTuple):
    """The states that enter chunks, or with `kept` pieces of tiles, `(B, K, entries, N, D)`."""

    tensor: Tensor
    kept: bool
    chunk: int
    """The stride from the entry of a chunk to that of the next."""
    piece: int
    """The stride from the entry of a piece to that of the next; 0 where they are not kept."""

    @property
    def strides(self) -> dict[str, int]:
        return dict(states_bk=self.tensor.stride(1), states_chunk=self.chunk)


def _new_states(p: Problem, cut: Cut, keep: bool) -> _States:
    batch, _, K, channels, d_state, steps = p.sizes
    if not keep:
        ends = _float32(p, batch, K, cut.chunks, d_state, channels)
        return _States(ends, kept=False, chunk=ends.stride(2), piece=0)
    pieces = _float32(p, *states_shape(batch, steps, K, channels, d_state))
    # What enters a chunk enters its first piece: the passes over chunks write it where that stands.
    pieces_of_a_chunk = cut.span // tiling(d_state).steps
    piece = pieces.stride(2)
    return _States(pieces, kept=True, chunk=pieces_of_a_chunk * piece, piece=piece)


def _enter_chunks(
    p: Problem, x: Tensor, weight: Tensor, ends: _States, tile: Tile, cut: Cut, reverse: bool
) -> None:
    """Passes one and two: what enters each chunk, into `ends`.

    Forward, x is u and the weight is B, which gives states. In reverse, x is dy and the weight is
    C, which gives adjoints.
    """
    # Kernels are imported late: they need Triton, and `unavailable` is asked where there is none.
    from .triton_forward import carry_kernel, chunk_ends_kernel

    batch, _, K, channels, d_state, steps = p.sizes
    sums_BKMD = _float32(p, batch, K, cut.chunks, channels)
    launch(
        chunk_ends_kernel,
        p.programs(tile, cut.chunks, K),
        tensors=dict(
            x=x,
            delta=p.delta,
            A=p.A_KND,
            weight=weight,
            bias=p.bias,
            index=p.index,
            ends=ends.tensor,
            sums=sums_BKMD,
        ),
        sizes=dict(
            **named_strides(x=x, delta=p.delta, weight=weight),
            **ends.strides,
            steps=steps,
            channels=channels,
            d_state=d_state,
            routes=K,
            chunks=cut.chunks,
            tiles=cut.span // tile.span,
        ),
        **p.constants(tile),
        REVERSE=reverse,
    )
    launch(
        carry_kernel,
        batch * K * d_state * ceil_div(channels, LANES),
        tensors=dict(ends=ends.tensor, sums=sums_BKMD, A=p.A_KND),
        sizes=dict(**ends.strides, channels=channels, d_state=d_state, routes=K, chunks=cut.chunks),
        CT=4 if INTERPRETED else 64,
        DB=LANES,
        REVERSE=reverse,
    )


def _new_maps(p: Problem, dtype: torch.dtype, merge: bool) -> Tensor:
    """Where the kernels write a map for each route, `(B, L, K, D)`.

    It is in float32 where the maps are to be added up, and zero where no route may go.
    """
    batch, length, K, channels, _, _ = p.sizes
    # On complete routes every element is written, so clearing would only cost a pass.
    make = torch.empty if p.complete else torch.zeros
    dtype = torch.float32 if merge and K > 1 else dtype
    return make(batch, length, K, channels, dtype=dtype, device=p.u.device)


class _Plan(NamedTuple):
    """How the forward pass is launched."""

    tile: Tile
    cut: Cut
    walked: int
    """Routes of a launch."""
    sums: Tensor
    """What outputs are written into, or added up in."""


def _plan(p: Problem, args: ScanArgs) -> _Plan:
    """All routes in one launch, or one after the other where that saves a map for each.

    The sums are then those of `merged`, in its order.
    """
    sizes = p.sizes
    processors = multiprocessors(p.u.device)
    tile = choose_tile(sizes, tiling(sizes.d_state).forward, (p.u, p.delta))
    cut = choose_cut(sizes, tile, sizes.routes, processors)
    # Complete only: the first route has to write every position on which the others add.
    if args.merge and p.complete and routes_one_by_one(sizes, cut):
        sums = _float32(p, sizes.batch, sizes.length, 1, sizes.channels)
        return _Plan(tile, choose_cut(sizes, tile, 1, processors), 1, sums)
    return _Plan(tile, cut, sizes.routes, _new_maps(p, args.out_dtype, args.merge))


def _walk(p: Problem, plan: _Plan, states: _States, y: Tensor, first: int) -> None:
    """Writes the outputs of the launch's routes from `first` on into y."""
    from .triton_forward import scan_kernel

    sizes = p.sizes
    launch(
        scan_kernel,
        p.programs(plan.tile, plan.cut.chunks, plan.walked),
        tensors=dict(
            u=p.u,
            delta=p.delta,
            A=p.A_KND,
            B=p.B,
            C=p.C,
            D=p.D,
            bias=p.bias,
            index=p.index,
            states=states.tensor,
            sums=plan.sums,
            y=y,
        ),
        sizes=dict(
            **named_strides(u=p.u, delta=p.delta, B=p.B, C=p.C, y=y),
            **states.strides,
            states_piece=states.piece,
            steps=sizes.steps,
            channels=sizes.channels,
            d_state=sizes.d_state,
            routes=sizes.routes,
            chunks=plan.cut.chunks,
            tiles=plan.cut.span // plan.tile.span,
            given=int(plan.cut.chunks > 1),
            first=first,
            walked=plan.walked,
        ),
        **p.constants(plan.tile),
        HAS_D=p.D is not None,
        KEEP=states.kept,
        ADD=first > 0,
    )


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    from .triton_merge import merged

    p = make_problem(u, delta, A, B, C, D, bias, args)
    K = p.sizes.routes
    with on(u.device):
        plan = _plan(p, args)
        states = _new_states(p, plan.cut, keep_states)
        y = plan.sums
        if y.numel() and p.sizes.steps:
            if plan.cut.chunks > 1:
                _enter_chunks(p, p.u, p.B, states, plan.tile, plan.cut, reverse=False)
            for first in range(0, K, plan.walked):
                # The last of several launches rounds the sums of all to the dtype asked for.
                if first and first + plan.walked == K and y.dtype != args.out_dtype:
                    y = torch.empty_like(plan.sums, dtype=args.out_dtype)
                _walk(p, plan, states, y, first)
        if args.merge:
            y = merged(y, args.out_dtype)
    return y, states.tensor if keep_states else no_states(u, delta, A)


class _Sums(NamedTuple):
    """Parts of the gradients that are sums, one for each program or block of channels."""

    dBC: Tensor
    """dB and dC, `(2, blocks, B, L, K, N)`."""
    parameters_BKMSD: Tensor
    """dA for each state, then dD and dbias."""


def _new_sums(p: Problem, blocks: int, chunks: int) -> _Sums:
    batch, length, K, channels, d_state, _ = p.sizes
    make = torch.empty if p.complete else torch.zeros
    shape = (2, blocks, batch, length, K, d_state)
    return _Sums(
        dBC=make(shape, dtype=torch.float32, device=p.u.device),
        parameters_BKMSD=_float32(p, batch, K, chunks, d_state + 2, channels),
    )


def _new_ddelta(p: Problem, args: ScanArgs) -> Tensor:
    """Where the gradient of delta goes, zero where no route may go."""
    if args.gradients is None:
        return (torch.empty if p.complete else torch.zeros)(
            p.delta.shape, dtype=p.delta.dtype, device=p.delta.device
        )
    ddelta = args.gradients[0]
    return ddelta if p.complete else ddelta.zero_()


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    from .triton_merge import merged

    p = make_problem(u, delta, A, B, C, D, bias, args)
    batch, _, K, channels, d_state, steps = p.sizes
    config = tiling(d_state).backward
    shared = u.shape[2] == 1
    dy = contiguous_rows(grad_y)
    with on(u.device):
        du, ddelta = _new_maps(p, u.dtype, merge=shared), _new_ddelta(p, args)
        tile = choose_tile(p.sizes, config, (p.u, p.delta, dy, ddelta, du))
        # States are kept for pieces, not chunks, so the forward pass may have been cut otherwise.
        cut = choose_cut(p.sizes, tile, K, multiprocessors(u.device))
        # Few warps wait for memory together then, and gain more from registers than from company.
        if cut.chunks == 1 and config.registers_uncut:
            tile = tile._replace(registers=config.registers_uncut)
        sums = _new_sums(p, tile.blocks(channels), cut.chunks)
        q = _float32(p, batch, K, cut.chunks, d_state, channels)
        adjoints = _States(q, kept=False, chunk=q.stride(2), piece=0)
        if ddelta.numel() and steps:
            if cut.chunks > 1:
                # The first pass reads two maps only, and has registers for the larger tile.
                first_tile = choose_tile(p.sizes, tiling(d_state).forward, (dy, p.delta))
                _enter_chunks(p, dy, p.C, adjoints, first_tile, cut, reverse=True)
            _walk_back(p, tile, cut, states, adjoints, sums, dy, du, ddelta)
        else:
            # Nothing is launched, but these are added up all the same.
            sums.parameters_BKMSD.zero_()
        if shared:
            du = merged(du, u.dtype)
        dB, dC = _weights_gradients(sums.dBC, args, B.dtype, C.dtype)
        sums_KSD = sums.parameters_BKMSD.sum((0, 2))
    return (
        du,
        ddelta,
        sums_KSD[:, :d_state].transpose(1, 2).to(A.dtype),
        dB,
        dC,
        None if D is None else sums_KSD[:, d_state].to(D.dtype),
        None if bias is None else sums_KSD[:, d_state + 1].to(bias.dtype),
    )


def _walk_back(
    p: Problem,
    tile: Tile,
    cut: Cut,
    states: Tensor,
    adjoints: _States,
    sums: _Sums,
    dy: Tensor,
    du: Tensor,
    ddelta: Tensor,
) -> None:
    """Writes du and ddelta for each route, and the parts of `sums`."""
    from .triton_backward import scan_backward_kernel

    sizes = p.sizes
    launch(
        scan_backward_kernel,
        p.programs(tile, cut.chunks, sizes.routes),
        tensors=dict(
            u=p.u,
            delta=p.delta,
            A=p.A_KND,
            B=p.B,
            C=p.C,
            D=p.D,
            bias=p.bias,
            index=p.index,
            states=states,
            adjoints=adjoints.tensor,
            dy=dy,
            du=du,
            ddelta=ddelta,
            sums=sums.parameters_BKMSD,
            dB=sums.dBC[0],
            dC=sums.dBC[1],
        ),
        sizes=dict(
            **named_strides(u=p.u, delta=p.delta, B=p.B, C=p.C, dy=dy, du=du, ddelta=ddelta),
            states_bk=states.stride(1),
            length=sizes.length,
            steps=sizes.steps,
            channels=sizes.channels,
            d_state=sizes.d_state,
            routes=sizes.routes,
            chunks=cut.chunks,
            tiles=cut.span // tile.span,
            given=int(cut.chunks > 1),
        ),
        **p.constants(tile),
        HAS_D=p.D is not None,
    )


def _weights_gradients(
    dBC: Tensor, args: ScanArgs, B_dtype: torch.dtype, C_dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """dB and dC, summed over blocks of channels, in the caller's tensors where there are."""
    dB, dC = dBC[:, 0] if dBC.shape[1] == 1 else dBC.sum(1)
    if args.gradients is None:
        return dB.to(B_dtype), dC.to(C_dtype)
    _, dB_slot, dC_slot = args.gradients
    return dB_slot.copy_(dB), dC_slot.copy_(dC)
