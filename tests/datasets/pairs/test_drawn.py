"""The drawn pairs: of what they show, neither image is enough."""

from itertools import product
from pathlib import Path

import cv2
import numpy as np

from mmmamba.datasets.shape_pairs import CLASSES, make_pairs
from mmmamba.datasets.shapes import ShapesSpec

SPEC = ShapesSpec(num_train=40, num_val=2, size=64)


def read(root: Path, folder: str) -> np.ndarray:
    files = sorted((root / folder / "train").glob("*.png"))
    return np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files])


def test_the_same_colours_have_other_classes_where_other_things_are_warm(tmp_path):
    one, other = (make_pairs(tmp_path / str(seed), SPEC, heat_seed=seed) for seed in (0, 1))
    assert (read(one, "rgb") == read(other, "rgb")).all()
    labels = read(one, "labels"), read(other, "labels")
    # Whatever a network of colours says of a shape, it is wrong in about every second set.
    seen = labels[0] > 0
    assert (seen == (labels[1] > 0)).all()
    assert 0.3 < (labels[0] == labels[1])[seen].mean() < 0.7
    # What is red stays red.
    assert ((labels[0] > 2) == (labels[1] > 2)).all()


def test_the_thermal_image_does_not_tell_red_from_blue(tmp_path):
    root = make_pairs(tmp_path / "pairs", SPEC)
    labels, heat, colours = (read(root, name) for name in ("labels", "thermal", "rgb"))
    values = {name: heat[labels == index] for index, name in enumerate(CLASSES)}
    for warmth, low, high in (("warm", 150, 256), ("cold", 0, 95)):
        red, blue = values[f"{warmth} red"], values[f"{warmth} blue"]
        assert abs(red.mean() - blue.mean()) < 12 and len(red) > 1000 < len(blue)
        assert ((low <= red) & (red < high)).mean() > 0.99
    assert 95 < values["background"].mean() < 150
    # Blue, green, red.
    red_first = colours[..., 2] > colours[..., 0].astype(int)
    for warmth, colour in product(("warm", "cold"), ("red", "blue")):
        index = CLASSES.index(f"{warmth} {colour}")
        assert (red_first[labels == index] == (colour == "red")).mean() > 0.95


def test_it_is_drawn_once(tmp_path):
    root = make_pairs(tmp_path / "pairs", SPEC)
    before = (root / "rgb/train/00000.png").stat().st_mtime_ns
    assert make_pairs(tmp_path / "pairs", SPEC) == root
    assert (root / "rgb/train/00000.png").stat().st_mtime_ns == before
    assert (root / "classes.txt").read_text().split("\n")[:2] == ["background", "warm red"]
