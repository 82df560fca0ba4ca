"""Colours of classes are far from one another for most eyes and for colour-blind ones."""

from __future__ import annotations

import numpy as np
import pytest

from mmmamba.structures.colours import DEUTERANOPIA, PROTANOPIA, oklab, spread_colours


def least_distance(colours: object, sight: np.ndarray | None = None, lightness: float = 1) -> float:
    lab = oklab(np.array(colours), sight) * (lightness, 1, 1)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return apart[~np.eye(len(lab), dtype=bool)].min()


def test_oklab_is_the_published_one() -> None:
    # From https://bottosson.github.io/posts/oklab and CSS Color 4.
    found = oklab(np.array([(255, 255, 255), (255, 0, 0), (0, 0, 255)]))
    wanted = [(1, 0, 0), (0.628, 0.225, 0.126), (0.452, -0.032, -0.312)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("count, hue, blind", [(10, 0.13, 0.07), (20, 0.09, 0.05)])
def test_the_first_can_be_told_apart(count: int, hue: float, blind: float) -> None:
    colours = spread_colours(count)
    # Where lightness hardly counts a maroon lies beside a crimson; 0.02 is one just noticed.
    assert least_distance(colours, lightness=0.35) > hue
    assert least_distance(colours, PROTANOPIA) > blind
    assert least_distance(colours, DEUTERANOPIA) > blind


@pytest.mark.parametrize("number", [1, 3, 150, 1203])
def test_there_are_enough(number: int) -> None:
    colours = spread_colours(number)
    assert len(colours) == len(set(colours)) == number
    assert colours[:3] == spread_colours(3)[:number]
