"""What is found in tiles comes out as if it had been seen at once."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmmamba.structures.joined_objects import merge_objects
from mmmamba.structures.objects import Objects
from mmmamba.structures.tiles import Tile


def objects(boxes, scores, labels, masks=None):
    return Objects(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(scores, dtype=np.float32),
        np.array(labels, dtype=np.int64),
        masks,
    )


LEFT, RIGHT = Tile(0, 0, 100, 100), Tile(70, 0, 100, 100)


def test_an_object_seen_whole_and_cut_off_keeps_its_whole_box():
    """Even where the cut view is the surer one."""
    found = [objects([[60, 20, 90, 50]], [0.6], [1]), objects([[0, 20, 20, 50]], [0.9], [1])]
    merged = merge_objects([LEFT, RIGHT], found, 100, 170)
    assert merged.boxes.tolist() == [[60, 20, 90, 50]] and merged.scores.tolist() == [
        np.float32(0.6)
    ]


def test_an_object_that_no_tile_sees_whole_is_put_together():
    found = [objects([[20, 20, 100, 50]], [0.6], [1]), objects([[0, 21, 80, 50]], [0.9], [1])]
    merged = merge_objects([LEFT, RIGHT], found, 100, 170)
    assert merged.boxes.tolist() == [[20, 20, 150, 50]]


def test_neighbours_and_other_classes_stay_apart():
    left = objects([[60, 20, 84, 50], [75, 20, 95, 50]], [0.9, 0.8], [1, 1])
    right = objects([[5, 20, 25, 50], [5, 20, 25, 50]], [0.9, 0.85], [1, 2])
    merged = merge_objects([LEFT, RIGHT], [left, right], 100, 170)
    assert sorted(merged.labels.tolist()) == [1, 1, 2]
    assert {tuple(box) for box in merged.boxes.tolist()} == {(60, 20, 84, 50), (75, 20, 95, 50)}


def test_a_small_object_before_a_large_one_is_not_swallowed():
    """Both tiles see both; the large one is cut off by both."""
    left = objects([[10, 10, 100, 90], [75, 40, 95, 60]], [0.9, 0.8], [0, 0])
    right = objects([[0, 10, 90, 90], [5, 40, 25, 60]], [0.9, 0.7], [0, 0])
    merged = merge_objects([LEFT, RIGHT], [left, right], 100, 170)
    assert merged.boxes.tolist() == [[10, 10, 160, 90], [75, 40, 95, 60]]


def test_nothing_found():
    merged = merge_objects([LEFT, RIGHT], [objects([], [], []), objects([], [], [])], 100, 170)
    assert len(merged) == 0 and merged.boxes.shape == (0, 4)


@pytest.mark.parametrize("seed", range(6))
def test_masks_of_tiles_come_to_their_place(seed):
    rng = np.random.default_rng(seed)
    tile = Tile(*rng.integers(0, 12, 2).tolist(), *rng.integers(5, 20, 2).tolist())
    # Full height of the image in one case: runs of neighbouring columns meet.
    height, width = (tile.height, 40) if seed == 0 else (40, 40)
    tile = Tile(tile.x, 0, tile.width, tile.height) if seed == 0 else tile
    part = rng.integers(int(seed == 0), 2, (tile.height, tile.width), np.uint8)
    wanted = np.zeros((height, width), np.uint8)
    tile.of(wanted)[:] = part
    found = objects(
        [[0, 0, tile.width, tile.height]], [0.5], [0], [coco_mask.encode(np.asfortranarray(part))]
    )
    merged = merge_objects([tile], [found], height, width)
    assert (coco_mask.decode(merged.masks[0]) == wanted).all()
    assert merged.masks[0]["size"] == [height, width]
