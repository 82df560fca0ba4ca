"""Grids cut out of one large map hold what mmdet computes for each size."""

import pytest
import torch

import mmmamba  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.task_modules.prior_generators import AnchorGenerator

from mmmamba.models.two_stage.anchor_grid import GRIDS, AnchorGrids
from tests.models.two_stage.operators import Counted

STRIDES = (4, 8, 16, 32)


def sizes_of(height: int, width: int) -> list[tuple[int, int]]:
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]


@pytest.fixture
def generator() -> AnchorGenerator:
    return AnchorGenerator(
        STRIDES, ratios=[0.5, 1.0, 2.0], octave_base_scale=4, scales_per_octave=3
    )


def test_anchors_of_sizes_in_turn(generator):
    """Larger and smaller than those before, upright and lying."""
    grids = AnchorGrids(generator, torch.device("cpu"))
    for image in ((96, 160), (64, 64), (320, 64), (64, 320), (97, 161), (96, 160)):
        sizes = sizes_of(*image)
        grid, wanted = grids.of(sizes), generator.grid_priors(sizes, device="cpu")
        assert grid.anchors_A4.equal(torch.cat(wanted))
        assert grid.counts == [len(one) for one in wanted]
        # Where a padded image ends says which anchors lie in it.
        y_A, x_A = grid.corner_A2.unbind(1)
        flags = torch.cat(generator.valid_flags(sizes, (50, 61), "cpu"))
        assert flags.equal((y_A < 50) & (x_A < 61))
        levels = [2.0 * level for level, one in enumerate(wanted) for _ in one]
        assert grid.apart_A.equal(torch.tensor(levels, dtype=torch.double))


@pytest.mark.parametrize("most", [-1, 5, 500])
def test_places_of_the_best_of_each_level(generator, most):
    grid = AnchorGrids(generator, torch.device("cpu")).of(sizes_of(64, 96))
    place_LN, there_LN = grid.places(most)
    levels = torch.arange(sum(grid.counts)).split(grid.counts)
    wanted = [level[:most] if most > 0 else level for level in levels]
    assert place_LN.shape == there_LN.shape == (4, max(map(len, wanted)))
    for place, there, level in zip(place_LN, there_LN, wanted):
        assert place[there].equal(level) and not place[~there].any()


def test_a_new_size_is_a_few_copies_on_the_device(generator):
    """Nothing else: mmdet's grid takes a wait and some fifteen operators for each level."""
    grids = AnchorGrids(generator, torch.device("cpu"))
    grids.of(sizes_of(192, 192))
    with Counted() as counted:
        grid = grids.of(sizes_of(160, 100))
    assert set(counted.counts) == {"aten::new_empty", "aten::copy_", "aten::fill_"}
    assert counted.counts["aten::copy_"] == 2 * len(STRIDES)
    with Counted() as counted:
        assert grids.of(sizes_of(160, 100)) is grid
    assert counted.total == 0


def test_the_sizes_that_came_last_are_kept(generator):
    grids = AnchorGrids(generator, torch.device("cpu"))
    first = grids.of(sizes_of(32, 32))
    for width in range(64, 64 + 32 * (GRIDS - 1), 32):
        grids.of(sizes_of(32, width))
        assert grids.of(sizes_of(32, 32)) is first
    second = grids.of(sizes_of(32, 64))
    for width in range(1000, 1000 + 32 * (GRIDS - 1), 32):
        grids.of(sizes_of(32, width))
    assert grids.of(sizes_of(32, 64)) is second
    assert grids.of(sizes_of(32, 32)) is not first


def test_an_inference_pass_leaves_grids_to_train_with(generator):
    grids = AnchorGrids(generator, torch.device("cpu"))
    with torch.inference_mode():
        grid = grids.of(sizes_of(64, 64))
        best = grid.places(10)
    tensors = (grid.anchors_A4, grid.corner_A2, grid.apart_A, *best)
    assert not any(one.is_inference() for one in tensors)
