"""The Hilbert curve on maps of any size.

Hilbert's construction (Math. Ann. 38, 1891) replaces a square by four of half its side, walked up,
along, along and down. They need not be equal: a block of `main` x `cross` cells, `main` above 1,
can be walked by unit steps from one corner to the next one along `main` if and only if `main` is
even or both are odd, because a walk alternates between the colours of a chessboard. Cutting at even
lengths keeps that true of every part. Where `main` is odd and `cross` even, all parts but one can
be walked so, down to 3 x 2 cells, which take one diagonal step.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .registry import register_route

_LONG = 1.5
"""Blocks longer than this times their other side are cut across, so that parts stay compact."""


class Walk(NamedTuple):
    """Main and cross coordinate of each step."""

    main: Tensor
    cross: Tensor


@register_route("hilbert", exact=True)
def hilbert(height: int, width: int) -> Tensor:
    """From the top left corner along the longer side, each step to a neighbour (any map).

    Raises:
        ValueError: the sides are symbols of a tracer.
    """
    want_numbers("hilbert", height, width)
    walk = _whole(max(height, width), min(height, width))
    row_L, column_L = (walk.cross, walk.main) if width >= height else (walk.main, walk.cross)
    return row_L * width + column_L


def want_numbers(name: str, height: int, width: int) -> None:
    """Refuse sides that are symbols, by which nothing can be cut.

    Raises:
        ValueError: they are.
    """
    if not (isinstance(height, int) and isinstance(width, int)):
        raise ValueError(
            f"route '{name}' is cut by the map's sides, which have to be numbers: it cannot be "
            "traced for any size"
        )


def corner_to_corner(main: int, cross: int) -> Walk:
    """From (0, 0) to (main - 1, 0), with one diagonal step if `main` is odd and `cross` even.

    A line of cells across, where both are one corner, is walked from it.
    """
    if main == 1:
        return Walk(torch.zeros(cross, dtype=torch.long), torch.arange(cross))
    return _walk(main, cross, {})


def _whole(long: int, short: int) -> Walk:
    """The whole map.

    Past an even short side the corner along an odd long one cannot be reached, but the one across
    can: a block as good as square is walked across, and a longer one ends in such a block.
    """
    known: dict[tuple[int, int], Walk] = {}
    if long % 2 == 0 or short % 2 == 1:
        return _walk(long, short, known)
    if long <= _LONG * short:
        turned = _walk(short, long, known)
        return Walk(turned.cross, turned.main)
    # Even, so that a walk along it exists whatever the other side; what is left is about square.
    length = (long - short) // 2 * 2
    head, tail = _walk(length, short, known), _walk(short, long - length, known)
    return Walk(
        main=torch.cat([head.main, length + tail.cross]),
        cross=torch.cat([head.cross, tail.main]),
    )


def _walk(main: int, cross: int, known: dict[tuple[int, int], Walk]) -> Walk:
    """From (0, 0) to (main - 1, 0). Blocks of one size are walked alike: `known` keeps them."""
    if (main, cross) not in known:
        known[main, cross] = _parts(main, cross, known)
    return known[main, cross]


def _parts(main: int, cross: int, known: dict[tuple[int, int], Walk]) -> Walk:
    if cross == 1:
        return Walk(torch.arange(main), torch.zeros(main, dtype=torch.long))
    if (main, cross) == (3, 2):
        return Walk(torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 0, 1, 1, 0]))
    if main > _LONG * cross:
        # The even number at half the length, as any cut has to leave an even first part.
        half = (main + 2) // 4 * 2
        first, last = _walk(half, cross, known), _walk(main - half, cross, known)
        return Walk(
            main=torch.cat([first.main, half + last.main]),
            cross=torch.cat([first.cross, last.cross]),
        )
    # Up along the left, along the top, and down along the right: the sides are turned blocks, whose
    # main coordinate is our cross one, and the last is walked from its far end.
    # Of two rows, one is left for the top; otherwise the sides are even, as those of any cut.
    left, up = main // 2, 1 if cross == 2 else (cross + 2) // 4 * 2
    ascent = _walk(up, left, known)
    top = _walk(main, cross - up, known)
    descent = _walk(up, main - left, known)
    return Walk(
        main=torch.cat([ascent.cross, top.main, main - 1 - descent.cross]),
        cross=torch.cat([ascent.main, up + top.cross, up - 1 - descent.main]),
    )
