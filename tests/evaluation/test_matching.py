"""Counts of what was found and what it was taken for, against cases that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmmamba.evaluation.matching import Found, Labelled, count_pairs

CAT, DOG, NOTHING = 0, 1, 2
HERE, NEARLY_HERE, HALF_HERE, THERE = (
    [10, 10, 20, 20],
    [11, 10, 20, 20],
    [10, 10, 20, 9],
    [60, 60, 20, 20],
)


def count(labelled: list[tuple], found: list[tuple]) -> dict[tuple[int, int], int]:
    """Cells of the matrix that are not zero, from (box, label[, crowd]) and (box, label, score)."""
    matrix = np.zeros((3, 3), dtype=int)
    truth = Labelled(
        np.array([one[0] for one in labelled]),
        np.array([one[1] for one in labelled], dtype=int),
        np.array([len(one) > 2 for one in labelled], dtype=bool),
    )
    guess = Found(
        np.array([one[0] for one in found]),
        np.array([one[1] for one in found], dtype=int),
        np.array([one[2] for one in found]),
    )
    count_pairs(matrix, truth, guess)
    return {
        (int(row), int(column)): int(matrix[row, column])
        for row, column in zip(*np.nonzero(matrix))
    }


@pytest.mark.parametrize(
    "labelled, found, cells",
    [
        ([(HERE, CAT)], [(NEARLY_HERE, CAT, 0.9)], {(CAT, CAT): 1}),
        ([(HERE, CAT)], [(NEARLY_HERE, DOG, 0.9)], {(CAT, DOG): 1}),
        ([(HERE, CAT)], [(THERE, CAT, 0.9)], {(CAT, NOTHING): 1, (NOTHING, CAT): 1}),
        ([(HERE, CAT)], [(HERE, CAT, 0.29)], {(CAT, NOTHING): 1}),
        ([(HERE, CAT)], [(HALF_HERE, CAT, 0.9)], {(CAT, NOTHING): 1, (NOTHING, CAT): 1}),
        # An object is found once, by the surest detection, whatever the order in which they come.
        (
            [(HERE, CAT)],
            [(HERE, DOG, 0.5), (NEARLY_HERE, CAT, 0.8)],
            {(CAT, CAT): 1, (NOTHING, DOG): 1},
        ),
        (
            [(HERE, CAT), (NEARLY_HERE, DOG)],
            [(HERE, CAT, 0.9), (HERE, DOG, 0.8)],
            {(CAT, CAT): 1, (DOG, DOG): 1},
        ),
        # In a crowd nothing is false, and nobody is missed.
        (
            [([0, 0, 50, 50], CAT, "crowd")],
            [(HERE, DOG, 0.9), (THERE, DOG, 0.9)],
            {(NOTHING, DOG): 1},
        ),
        ([([0, 0, 50, 50], CAT, "crowd"), (HERE, DOG)], [(HERE, DOG, 0.9)], {(DOG, DOG): 1}),
        ([], [(HERE, DOG, 0.9)], {(NOTHING, DOG): 1}),
        ([(HERE, CAT)], [], {(CAT, NOTHING): 1}),
        ([], [], {}),
    ],
)
def test_pairs(labelled, found, cells) -> None:
    assert count(labelled, found) == cells
