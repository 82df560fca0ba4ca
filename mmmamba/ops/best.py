"""The best of many scores in an order that does not change."""

import torch
from torch import Tensor

from .library import register
from .lowering import unrolls
from .waiting import costs_a_wait

FEW = 8
"""Where there are so many times as many scores, a CPU looks for the best without sorting all."""


def best(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The largest along the last axis, falling, and their places; of equal ones the first first.

    `torch.topk` leaves the order of equal ones open.

    Args:
        number: how many of each row, at most its length.
    """
    if not torch.compiler.is_exporting():
        return _best(scores, number)
    return _sorted(scores, number) if unrolls() else best_op(scores, number)


def _best(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    if not costs_a_wait(scores) and number * FEW <= scores.shape[-1]:
        rows = [_best_of_row(row, number) for row in scores.reshape(-1, scores.shape[-1])]
        values, places = (torch.stack(parts) for parts in zip(*rows))
        shape = (*scores.shape[:-1], number)
        return values.view(shape), places.view(shape)
    return _sorted(scores, number)


def _sorted(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    values, places = scores.sort(dim=-1, descending=True, stable=True)
    return values[..., :number], places[..., :number]


def _best_of_row(row: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Few of many without sorting all, which a CPU takes long for."""
    # At least so many, and all that are equal to the last of them; what is no number comes first.
    place = (~(row < row.topk(number).values[-1])).nonzero()[:, 0]
    values, order = row[place].sort(descending=True, stable=True)
    return values[:number], place[order[:number]]


def _best_copied(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    values, places = _best(scores, number)
    # Compilers plan memory for results of the shapes that the fake ones have.
    return values.contiguous(), places.contiguous()


best_op = register("best", _best_copied)
"""`best` as one node of an exported graph."""


@torch.library.register_fake("mmmamba::best")
def _fake(scores, number):
    shape = (*scores.shape[:-1], number)
    return scores.new_empty(shape), scores.new_empty(shape, dtype=torch.long)
