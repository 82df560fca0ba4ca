"""The Hilbert curve on maps of any size.

Hilbert's construction (Math. Ann. 38, 1891) replaces a square by four of half its side, walked up, along, along and
down. They need not be equal: a block of `main` x `cross` cells, `main` above 1, can be walked by unit steps from one
corner to the next one along `main` if and only if `main` is even or both are odd, because a walk alternates between the
colours of a chessboard. Cutting at even lengths keeps that true of every part.
"""

import torch
from torch import Tensor

from .registry import register_route

_LONG = 1.5
"""Blocks longer than this times their other side are cut across, so that parts stay compact."""

Walk = tuple[Tensor, Tensor]
"""Main and cross coordinate of each step."""


@register_route("hilbert", exact=True)
def hilbert(height: int, width: int) -> Tensor:
    """From the top left corner along the longer side, each step to a neighbour (any height and width)."""
    if width >= height:
        column_L, row_L = _whole(width, height)
    else:
        row_L, column_L = _whole(height, width)
    return row_L * width + column_L


def _whole(long: int, short: int) -> Walk:
    """The whole map. Past an even short side the corner along an odd long one cannot be reached; so others are."""
    known: dict[tuple[int, int], Walk] = {}
    if long % 2 == 0 or short % 2 == 1:
        return _walk(long, short, known)
    if long <= _LONG * short:
        cross, main = _walk(short, long, known)
        return main, cross
    head = (long - short) // 2 * 2
    main, cross = _walk(head, short, known)
    tail_cross, tail_main = _walk(short, long - head, known)
    return torch.cat([main, head + tail_main]), torch.cat([cross, tail_cross])


def _walk(main: int, cross: int, known: dict[tuple[int, int], Walk]) -> Walk:
    """From (0, 0) to (main - 1, 0). Blocks of one size are walked alike: `known` keeps them."""
    if (main, cross) not in known:
        known[main, cross] = _parts(main, cross, known)
    return known[main, cross]


def _parts(main: int, cross: int, known: dict[tuple[int, int], Walk]) -> Walk:
    if cross == 1:
        return torch.arange(main), torch.zeros(main, dtype=torch.long)
    if main > _LONG * cross:
        half = (main + 2) // 4 * 2
        first, last = _walk(half, cross, known), _walk(main - half, cross, known)
        return torch.cat([first[0], half + last[0]]), torch.cat([first[1], last[1]])
    left, up = main // 2, 1 if cross == 2 else (cross + 2) // 4 * 2
    ascent, top, descent = (
        _walk(up, left, known),
        _walk(main, cross - up, known),
        _walk(up, main - left, known),
    )
    return (
        torch.cat([ascent[1], top[0], main - 1 - descent[1]]),
        torch.cat([ascent[0], up + top[1], up - 1 - descent[0]]),
    )
