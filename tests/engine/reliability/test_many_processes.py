"""Two processes train as one: equal losses and gradients with DDP, FSDP and accumulation."""

from __future__ import annotations

import pytest

EQUAL = 5e-5

Found = dict[str, dict[str, float | str]]


@pytest.fixture
def found(two_processes: list[dict]) -> list[Found]:
    return [found["gradients"] for found in two_processes]


def test_segmentation_is_that_of_the_large_batch(found: list[Found]) -> None:
    """mmseg divides a loss by all pixels, of which each image has as many."""
    for one in found:
        assert one["segmentation"]["loss"] < EQUAL
        assert one["segmentation"]["processes_and_batch"] < EQUAL
        assert one["segmentation"]["accumulating_and_batch"] < EQUAL


def test_detection_is_the_mean_of_its_batches(found: list[Found]) -> None:
    """Processes and accumulating agree.

    One large batch differs: mmdet divides a loss by the regions of its batch.
    """
    for one in found:
        assert one["detection"]["processes_and_accumulating"] < EQUAL
        assert one["detection"]["processes_and_batch"] > EQUAL


def test_sharded_weights_give_the_same_losses(found: list[Found]) -> None:
    for one in found:
        assert one["sharded"]["fsdp"] < EQUAL
        assert one["sharded"]["moved"] > 1e-3
        assert "GraphHook: FSDP" in one["sharded"]["graphs_refused"]
        assert 0.4 < one["sharded"]["kept"] < 0.6
