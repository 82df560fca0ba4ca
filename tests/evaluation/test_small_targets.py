"""Pd, Fa, IoU and nIoU of maps whose numbers are known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmmamba.evaluation.small_targets import SmallTargetMetric, components, match
from mmmamba.visualization.charts.curves import choose_panels

from .two_processes import images
from .two_processes import score as score_of_one_process

SIDE = 20


def mask(*squares: tuple[int, int, int]) -> torch.Tensor:
    """Squares of (row, column, side) on an empty map."""
    map_HW = torch.zeros(SIDE, SIDE, dtype=torch.long)
    for row, column, side in squares:
        map_HW[row : row + side, column : column + side] = 1
    return map_HW


def sample(target: torch.Tensor, predicted: torch.Tensor) -> dict:
    return dict(gt_sem_seg=dict(data=target[None]), pred_sem_seg=dict(data=predicted.float()[None]))


def score(*pairs: tuple[torch.Tensor, torch.Tensor], **given) -> dict[str, float]:
    metric = SmallTargetMetric(**given)
    metric.process({}, [sample(*pair) for pair in pairs])
    return metric.evaluate(len(pairs))


NOTHING = mask()
HALF = mask((2, 2, 2)), mask((2, 3, 2))
"""A target of 4 pixels and a prediction a pixel beside it: 2 of 6 pixels are both."""
LOST = mask((2, 2, 2), (10, 10, 2)), mask((2, 2, 2), (16, 2, 3))
"""Two targets, one found whole, and 9 pixels of a false alarm."""


def test_by_hand() -> None:
    found = score(HALF, LOST)
    # Pixels: 2 + 4 of 6 + (8 + 9); images: 1/3 and 4/17; targets: 2 of 3; 9 of 800 pixels false.
    assert found == pytest.approx(
        {
            "IoU": 100 * 6 / 23,
            "nIoU": 50 * (1 / 3 + 4 / 17),
            "Pd": 100 * 2 / 3,
            "Fa": 1e6 * 9 / 800,
        }
    )


def test_order_and_batches_do_not_matter() -> None:
    pairs = [HALF, LOST, (NOTHING, mask((5, 5, 1))), (mask((5, 5, 2)), NOTHING)]
    at_once = score(*pairs)
    one_by_one = SmallTargetMetric()
    for pair in reversed(pairs):
        one_by_one.process({}, [sample(*pair)])
    assert one_by_one.evaluate(len(pairs)) == at_once


def test_images_without_targets() -> None:
    # An empty image in which nothing is found has no IoU, and counts as pixels.
    found = score(HALF, (NOTHING, NOTHING))
    assert found["nIoU"] == found["IoU"] == pytest.approx(100 / 3)
    assert found["Pd"] == 100 and found["Fa"] == 0
    # With something found its IoU is 0.
    false = score(HALF, (NOTHING, mask((9, 9, 2))))
    assert false["nIoU"] == pytest.approx(100 / 6) and false["Fa"] == pytest.approx(1e6 * 4 / 800)
    nothing = score((NOTHING, NOTHING))
    assert all(math.isnan(nothing[key]) for key in ("IoU", "nIoU", "Pd")) and nothing["Fa"] == 0


def test_a_target_is_found_nearer_than_the_distance() -> None:
    target, predicted = mask((2, 2, 1)), mask((2, 5, 1))
    assert score((target, predicted))["Pd"] == 0
    assert score((target, predicted), distance=3.1)["Pd"] == 100
    # What is found is no false alarm, whatever of it lies beside the target.
    assert score((target, predicted), distance=3.1)["Fa"] == 0


def test_one_component_finds_one_target() -> None:
    # Two targets two columns apart, one prediction between them, nearer to the second.
    pair = mask((2, 2, 1), (2, 5, 1)), mask((2, 4, 1))
    assert score(pair)["Pd"] == 50
    near, far = np.array([[4.0, 2.0]]), np.array([[2.0, 2.0], [5.0, 2.0]])
    assert match(far, near, 3) == [0]


def test_pixels_that_touch_at_a_corner_are_one_target() -> None:
    map_HW = np.eye(4, dtype=bool)
    found = components(map_HW)
    assert found.areas_N.tolist() == [4] and found.centroids_N2.tolist() == [[1.5, 1.5]]


def test_ignored_pixels_count_for_nothing() -> None:
    target, predicted = mask((2, 2, 2)), mask((2, 2, 2), (10, 10, 2))
    target[10:12, 10:12] = 255
    found = score((target, predicted))
    assert found["IoU"] == 100 and found["Fa"] == 0


def test_two_processes_score_as_one(two_processes: list[dict]) -> None:
    alone = score_of_one_process(images())
    for found in two_processes:
        assert found["targets"] == pytest.approx(alone)


def test_false_alarms_have_a_chart_of_their_own() -> None:
    scored = [dict(step=1, IoU=40.0, nIoU=41.0, Pd=90.0, Fa=1500.0)]
    lines = {panel.title: list(panel.keys) for panel in choose_panels([], scored) if panel.keys}
    assert lines == {
        "results of validation": ["IoU", "nIoU", "Pd"],
        "false alarms, 1e-6 of the pixels": ["Fa"],
    }
