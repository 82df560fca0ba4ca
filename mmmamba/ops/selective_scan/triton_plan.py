"""How the scan's kernels are launched for a set of sizes, worked out once and kept.

A plan holds no tensors: `triton.forward` and `triton.backward` make these and hand them over.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .triton_backward import scan_backward_kernel
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
from .triton_forward import carry_kernel, chunk_ends_kernel, scan_kernel
from .triton_problem import Problem, layout, named_strides

Shape = tuple[int, ...]

_FORWARD, _BACKWARD = Plans(), Plans()


def states_shape(batch: int, steps: int, routes: int, channels: int, d_state: int) -> Shape:
    return (batch, routes, ceil_div(steps, tiling(d_state).steps), d_state, channels)


class _States(NamedTuple):
    """How states that enter chunks, or pieces of tiles, are laid out, `(B, K, entries, N, D)`."""

    shape: Shape
    chunk: int
    """The stride from the entry of a chunk to that of the next."""
    piece: int
    """The stride from the entry of a piece to that of the next; 0 where they are not kept."""

    @property
    def strides(self) -> dict[str, int]:
        _, _, entries, d_state, channels = self.shape
        return dict(states_bk=entries * d_state * channels, states_chunk=self.chunk)


def _ends(p: Problem, cut: Cut) -> _States:
    """States of chunks alone."""
    batch, _, K, channels, d_state, _ = p.sizes
    return _States((batch, K, cut.chunks, d_state, channels), d_state * channels, 0)


def _pieces(p: Problem, cut: Cut) -> _States:
    """States of every piece, for the backward pass."""
    batch, _, K, channels, d_state, steps = p.sizes
    # What enters a chunk enters its first piece: the passes over chunks write it where that stands.
    pieces_of_a_chunk = cut.span // tiling(d_state).steps
    piece = d_state * channels
    shape = states_shape(batch, steps, K, channels, d_state)
    return _States(shape, pieces_of_a_chunk * piece, piece)


class Entrance(NamedTuple):
    """Passes one and two over routes that are cut into chunks: what enters each chunk."""

    ends: Launch
    carry: Launch
    sums: Shape
    """The shape of each chunk's sum of delta."""


def _entrance(
    p: Problem, x: Tensor, weight: Tensor, states: _States, tile: Tile, cut: Cut, reverse: bool
) -> Entrance | None:
    """Forward, x is u and the weight is B, which gives states.

    In reverse, x is dy and the weight is C, which gives adjoints. None where nothing is cut.
    """
    if cut.chunks == 1:
        return None
    batch, _, K, channels, d_state, steps = p.sizes
    ends = Launch(
        chunk_ends_kernel,
        p.u.device,
        p.programs(tile, cut.chunks, K),
        dict(
            **named_strides(x=x, delta=p.delta, weight=weight),
            **states.strides,
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
    carry = Launch(
        carry_kernel,
        p.u.device,
        batch * K * d_state * ceil_div(channels, LANES),
        dict(**states.strides, channels=channels, d_state=d_state, routes=K, chunks=cut.chunks),
        CT=4 if INTERPRETED else 64,
        DB=LANES,
        REVERSE=reverse,
    )
    return Entrance(ends, carry, (batch, K, cut.chunks, channels))


class Maps(NamedTuple):
    """What the kernels write a map for each route into, `(B, L, K, D)`, without gaps."""

    shape: Shape
    dtype: torch.dtype

    @property
    def strides(self) -> tuple[int, int, int]:
        """Strides of batch, position and route, as `row_strides`."""
        _, length, K, channels = self.shape
        return length * K * channels, K * channels, 0 if K == 1 else channels

    def named(self, name: str) -> dict[str, int]:
        return dict(zip((f"{name}_b", f"{name}_l", f"{name}_k"), self.strides))


def _maps(p: Problem, dtype: torch.dtype, merge: bool) -> Maps:
    """In float32 where the maps are to be added up."""
    batch, length, K, channels, _, _ = p.sizes
    return Maps((batch, length, K, channels), torch.float32 if merge and K > 1 else dtype)


class ForwardPlan(NamedTuple):
    """How the forward pass is launched."""

    sums: Maps
    """What outputs are written into, or added up in."""
    states: Shape
    entrance: Entrance | None
    walks: tuple[Launch, ...]
    """All routes at once, or one after the other where that saves a map for each."""


def forward_plan(p: Problem, merge: bool, out_dtype: torch.dtype, keep_states: bool) -> ForwardPlan:
    key = (merge, out_dtype, keep_states, p.key())
    return _FORWARD.get(key) or _FORWARD.keep(key, _plan(p, merge, out_dtype, keep_states))


def _plan(p: Problem, merge: bool, out_dtype: torch.dtype, keep: bool) -> ForwardPlan:
    sizes, processors = p.sizes, multiprocessors(p.u.device)
    tile = choose_tile(sizes, tiling(sizes.d_state).forward, (p.u, p.delta))
    cut = choose_cut(sizes, tile, sizes.routes, processors)
    walked, sums = sizes.routes, _maps(p, out_dtype, merge)
    # Complete only: the first route has to write every position on which the others add. The sums
    # are then those of `merged`, in its order.
    if merge and p.complete and routes_one_by_one(sizes, cut):
        cut, walked = choose_cut(sizes, tile, 1, processors), 1
        sums = Maps((sizes.batch, sizes.length, 1, sizes.channels), torch.float32)
    states = _pieces(p, cut) if keep else _ends(p, cut)
    walks = []
    for first in range(0, sizes.routes, walked):
        walk = Launch(
            scan_kernel,
            p.u.device,
            p.programs(tile, cut.chunks, walked),
            dict(
                **named_strides(u=p.u, delta=p.delta, B=p.B, C=p.C),
                **sums.named("y"),
                **states.strides,
                states_piece=states.piece,
                steps=sizes.steps,
                channels=sizes.channels,
                d_state=sizes.d_state,
                routes=sizes.routes,
                chunks=cut.chunks,
                tiles=cut.span // tile.span,
                given=int(cut.chunks > 1),
                first=first,
                walked=walked,
            ),
            **p.constants(tile),
            HAS_D=p.D is not None,
            KEEP=keep,
            ADD=first > 0,
        )
        walks.append(walk)
    entrance = _entrance(p, p.u, p.B, states, tile, cut, reverse=False)
    return ForwardPlan(sums, states.shape, entrance, tuple(walks))


class BackwardPlan(NamedTuple):
    """How the backward pass is launched."""

    du: Maps
    adjoints: Shape
    dBC: Shape
    """dB and dC, one for each block of channels, `(2, blocks, B, L, K, N)`."""
    parameters: Shape
    """Sums over each chunk, `(B, K, chunks, N + 2, D)`: dA of each state, then dD and dbias."""
    entrance: Entrance | None
    walk: Launch


def backward_plan(p: Problem, dy: Tensor, ddelta: Tensor) -> BackwardPlan:
    key = (p.key(), *layout(dy), *layout(ddelta))
    return _BACKWARD.get(key) or _BACKWARD.keep(key, _plan_back(p, dy, ddelta))


def _plan_back(p: Problem, dy: Tensor, ddelta: Tensor) -> BackwardPlan:
    batch, length, K, channels, d_state, steps = p.sizes
    config = tiling(d_state).backward
    du = _maps(p, p.u.dtype, merge=p.u.shape[2] == 1)
    # du needs no look: it begins and goes on at multiples of the channels.
    tile = choose_tile(p.sizes, config, (p.u, p.delta, dy, ddelta))
    # States are kept for pieces, not chunks, so the forward pass may have been cut otherwise.
    cut = choose_cut(p.sizes, tile, K, multiprocessors(p.u.device))
    # Few warps wait for memory together then, and gain more from registers than from company.
    early = cut.chunks == 1 and config.registers_uncut is not None
    if early:
        tile = tile._replace(registers=config.registers_uncut)
    adjoints = _ends(p, cut)
    # The first pass reads two maps only, and has registers for the larger tile.
    first_tile = choose_tile(p.sizes, tiling(d_state).forward, (dy, p.delta))
    pieces = _pieces(p, cut)
    walk = Launch(
        scan_backward_kernel,
        p.u.device,
        p.programs(tile, cut.chunks, K),
        dict(
            **named_strides(u=p.u, delta=p.delta, B=p.B, C=p.C, dy=dy, ddelta=ddelta),
            **du.named("du"),
            states_bk=pieces.strides["states_bk"],
            length=length,
            steps=steps,
            channels=channels,
            d_state=d_state,
            routes=K,
            chunks=cut.chunks,
            tiles=cut.span // tile.span,
            given=int(cut.chunks > 1),
        ),
        **p.constants(tile),
        HAS_D=p.D is not None,
        EARLY=early,
    )
    return BackwardPlan(
        du=du,
        adjoints=adjoints.shape,
        dBC=(2, tile.blocks(channels), batch, length, K, d_state),
        parameters=(batch, K, cut.chunks, d_state + 2, channels),
        entrance=_entrance(p, dy, p.C, adjoints, first_tile, cut, reverse=True),
        walk=walk,
    )
