"""Tiles cover an image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmamba.structures.tiles import tile_rows


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
