"""A box, a mask and a name lie where they belong, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from mmmamba.visualization.objects import Drawn, Line, draw_box, draw_objects

RED = (250, 0, 0)
GREY = np.full((480, 600, 3), 128, np.uint8)


def drawn_box(line: Line, width: int = 4) -> np.ndarray:
    """A red box from 20 to 180 on black (200, 200, 3)."""
    picture = Image.new("RGB", (200, 200))
    draw_box(ImageDraw.Draw(picture), (20, 20, 180, 180), RED, width, line)
    return np.asarray(picture)


@pytest.mark.parametrize("line", Line)
def test_a_line_stays_on_the_box_s_sides(line: Line) -> None:
    seen = drawn_box(line).any(axis=-1)
    ring = np.zeros_like(seen)
    ring[20:181, 20:181] = True
    ring[24:177, 24:177] = False
    assert (seen == ring).all()


def test_broken_lines_have_gaps() -> None:
    shares = {}
    for line in Line:
        picture = drawn_box(line)
        shares[line] = (picture == RED).all(axis=-1).sum() / picture.any(axis=-1).sum()
    assert shares[Line.SOLID] == 1
    assert shares[Line.DASHED] == pytest.approx(4 / 7, abs=0.1)
    assert shares[Line.DOTTED] == pytest.approx(1 / 2.5, abs=0.15)


@pytest.mark.parametrize("line", Line)
@pytest.mark.parametrize(
    "box", [(-1e15, -1e15, 1e15, 1e15), (50, 60, 20, 30), (5, 5, 5, 5), (900, 900, 950, 950)]
)
def test_no_box_is_too_large_or_turned(box: tuple, line: Line) -> None:
    picture = draw_objects(GREY, [Drawn(RED, box, name="a", line=line)])
    assert picture.shape == GREY.shape


def test_masks_lie_under_boxes_and_small_images_are_enlarged() -> None:
    small = np.full((60, 120, 3), 128, np.uint8)
    mask = np.zeros((60, 120), np.uint8, order="F")
    mask[20:40, 10:30] = 1
    blue = (0, 0, 250)
    objects = [Drawn(RED, box=(10, 20, 30, 40)), Drawn(blue, mask=coco_mask.encode(mask))]
    picture = draw_objects(small, objects)[..., ::-1]
    assert picture.shape == (240, 480, 3)
    assert picture[120, 40].tolist() == [250, 0, 0], "the box's left side"
    assert picture[120, 80, 2] > 160 and picture[120, 80, 0] < 100, "the mask"


def test_names_do_not_cover_each_other() -> None:
    one = draw_objects(GREY, [Drawn(RED, (100, 100, 200, 200), name="first")])
    several = [Drawn(RED, (100, 100, 200, 200), name="first")]
    several += [Drawn((0, 0, 250), (100, 100, 200, 200), name="second")] * 30
    both = draw_objects(GREY, several)
    above = np.s_[80:98, 100:130]
    assert (one[above] == both[above]).all()
