"""Hilbert's curve from corner to corner, as FractalMamba's picture shows it, on any map."""

import pytest
import torch

from mmmamba.ops import list_route_sets, route

# Step numbers, rows from the top, as read off the authors' picture.
PICTURE = {
    2: [[1, 2], [0, 3]],
    4: [[5, 6, 9, 10], [4, 7, 8, 11], [3, 2, 13, 12], [0, 1, 14, 15]],
    8: [
        [21, 22, 25, 26, 37, 38, 41, 42],
        [20, 23, 24, 27, 36, 39, 40, 43],
        [19, 18, 29, 28, 35, 34, 45, 44],
        [16, 17, 30, 31, 32, 33, 46, 47],
        [15, 12, 11, 10, 53, 52, 51, 48],
        [14, 13, 8, 9, 54, 55, 50, 49],
        [1, 2, 7, 6, 57, 56, 61, 62],
        [0, 3, 4, 5, 58, 59, 60, 63],
    ],
}
CURVE = "fractal_curve"


def visits(name: str, height: int, width: int) -> torch.Tensor:
    """The step at which each cell is visited, `(H, W)`."""
    return route(name, height, width).argsort().view(height, width)


def grown(order: int) -> torch.Tensor:
    """The curve of 2^order cells a side by its rule: four copies, the outer two mirrored."""
    if order == 0:
        return torch.zeros(1, 1, dtype=torch.long)
    part = grown(order - 1)
    # Rows from the top: the transpose mirrors in the falling diagonal, both flips with it in the
    # rising one.
    left, right = part.flip(0, 1).t(), part.t()
    step = part.numel()
    return torch.cat(
        [
            torch.cat([part + step, part + 2 * step], 1),
            torch.cat([left, right + 3 * step], 1),
        ]
    )


@pytest.mark.parametrize("side", PICTURE)
def test_steps_are_those_of_the_picture(side):
    assert visits(CURVE, side, side).tolist() == PICTURE[side]


@pytest.mark.parametrize("order", range(8))
def test_powers_of_two_follow_the_rule(order):
    assert torch.equal(visits(CURVE, 2**order, 2**order), grown(order))


@pytest.mark.parametrize("height", range(1, 41))
def test_any_map_is_walked_from_corner_to_corner(height):
    for width in range(1, 41):
        order = route(CURVE, height, width)
        assert torch.equal(order.sort().values, torch.arange(height * width))
        down, right = (order // width).diff().abs(), (order % width).diff().abs()
        assert (torch.maximum(down, right) == 1).all()
        # Colours of a chessboard allow no unit steps alone there.
        assert int((down + right == 2).sum()) == (height % 2 == 0 and width % 2 == 1 and width > 1)
        assert order[0] == (height - 1) * width
        assert order[-1] == (height * width - 1 if width > 1 else 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1), (5, 8), (8, 5), (13, 13), (100, 168)])
def test_the_other_curves_are_this_one_turned_and_moved(size):
    height, width = size
    assert torch.equal(visits(f"{CURVE}_column", height, width), visits(CURVE, width, height).t())
    for name in (CURVE, f"{CURVE}_column"):
        still = visits(name, height, width)
        assert torch.equal(visits(f"{name}_shifted", *size), still.roll((1, 1), (0, 1)))
        half = (height // 2, width // 2)
        assert torch.equal(visits(f"{name}_half", *size), still.roll(half, (0, 1)))


def gap(names: list[str], height: int, width: int) -> int:
    """Steps between neighbours on the route that has them nearest; the worst pair's."""
    steps_KHW = torch.stack([visits(name, height, width) for name in names])
    apart = [steps_KHW.diff(dim=dim).abs().amin(0).amax() for dim in (1, 2)]
    return int(torch.stack(apart).max())


@pytest.mark.parametrize("size, joined", [((64, 64), 1), ((56, 56), 3), ((50, 84), 9)])
def test_the_shift_joins_every_pair_that_the_curves_part(size, joined):
    """As docs/routes.md tells; half of the map leaves the cut where it was."""
    sets = list_route_sets()
    assert gap([*sets["fractal"], *sets["fractal_shifted"]], *size) == joined
    assert gap(sets["fractal"], *size) > 300 < gap([*sets["fractal"], *sets["fractal_half"]], *size)


def test_sets_hold_both_curves_and_their_reverses():
    assert list_route_sets()["fractal"] == (
        "fractal_curve",
        "fractal_curve_column",
        "fractal_curve_reversed",
        "fractal_curve_column_reversed",
    )
    for suffix in ("shifted", "half"):
        want = (f"fractal_curve_{suffix}", f"fractal_curve_column_{suffix}")
        assert list_route_sets()[f"fractal_{suffix}"][:2] == want
