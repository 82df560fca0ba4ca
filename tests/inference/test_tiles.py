"""Tiles cover an image; what is found in them comes out as if it had been seen at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmmamba.inference import Objects, Predictor
from mmmamba.inference.tiles import Tile, merge_logits, merge_objects, tile_rows

from .colours import draw_image


@given(st.integers(1, 400), st.integers(1, 400), st.integers(32, 150), st.integers(0, 31))
@settings(max_examples=60, deadline=None)
def test_tiles_cover_the_image_with_the_overlap_asked_for(height, width, size, overlap):
    rows = tile_rows(height, width, size, overlap)
    seen = np.zeros((height, width), dtype=int)
    for row in rows:
        assert len({tile.y for tile in row}) == 1
        for tile, after in pairwise(row):
            assert tile.x + size - after.x >= overlap - 1
        for tile in row:
            part = tile.of(seen)
            assert part.shape == (min(size, height), min(size, width))
            part += 1
    assert seen.min() >= 1
    for row, below in pairwise(rows):
        assert row[0].y + size - below[0].y >= overlap - 1


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


@pytest.mark.parametrize(("height", "width"), [(70, 150), (64, 64), (200, 50)])
def test_logits_of_tiles_give_what_whole_logits_give(height, width):
    whole = np.random.default_rng(0).normal(size=(5, height, width)).astype(np.float32)
    rows = tile_rows(height, width, 64, 16)
    parts = (whole[:, t.y : t.y + t.height, t.x : t.x + t.width] for row in rows for t in row)
    assert (merge_logits(rows, parts, height, width, 16) == whole.argmax(0)).all()


def test_a_tile_counts_less_near_its_inner_side():
    """Two tiles disagree: the border runs through the middle of what they share."""
    rows = [[Tile(0, 0, 64, 8), Tile(48, 0, 64, 8)]]
    ones, zeros = np.ones((8, 64)), np.zeros((8, 64))
    logits = [np.stack([ones, zeros]), np.stack([zeros, ones])]
    labels = merge_logits(rows, logits, 8, 112, 16)
    assert (labels[:, :56] == 0).all() and (labels[:, 56:] == 1).all()


def test_one_channel_is_compared_with_the_threshold():
    rows = tile_rows(40, 100, 40, 10)
    probability = np.linspace(0, 1, 100, dtype=np.float32)[None, None].repeat(40, 1)
    parts = (probability[:, :, t.x : t.x + t.width] for row in rows for t in row)
    assert (merge_logits(rows, parts, 40, 100, 10, threshold=0.3) == (probability[0] > 0.3)).all()


@pytest.mark.parametrize("overlap", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_detector_finds_in_tiles_what_it_finds_in_the_whole(detector_run, seed, overlap):
    """Objects up to 70 pixels, in tiles of 96 that share 10 to 48.

    Many lie on seams, some in no tile as a whole.
    """
    image = draw_image(400, 530, 60, seed, side=(6, 70))
    whole = Predictor(detector_run)(image)
    tiled = Predictor(detector_run, tile=96, overlap=overlap, batch_size=4)(image)
    assert len(whole) == 60

    def ordered(result):
        keys = np.lexsort(result.objects.boxes.T)
        masks = [coco_mask.decode(result.objects.masks[k]) for k in keys]
        return result.objects.boxes[keys], result.objects.labels[keys], masks

    for one, other in zip(ordered(whole), ordered(tiled)):
        assert len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))


def test_a_segmentor_says_of_tiles_what_it_says_of_the_whole(segmentor_run):
    image = draw_image(300, 410, 40)
    whole, tiled = Predictor(segmentor_run)(image), Predictor(segmentor_run, tile=64)(image)
    assert (whole.labels == tiled.labels).all() and set(np.unique(whole.labels)) == {0, 1, 2, 3}
