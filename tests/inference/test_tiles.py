"""Predictions of tiles come out as if the image had been seen at once."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmmamba.inference import Predictor
from mmmamba.inference.tiles import merge_logits
from mmmamba.structures.tiles import Tile, tile_rows

from .colours import draw_image


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
