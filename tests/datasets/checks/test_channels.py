"""What becomes of an image's channels and bits, beside what the loader really does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from mmmamba.datasets.checks.channels import Reading
from mmmamba.datasets.checks.images import read_image_facts

FILES = {
    "grey.png": (None, np.uint8),
    "grey16.png": (None, np.uint16),
    "grey16.tif": (None, np.uint16),
    "colour.png": (3, np.uint8),
    "colour16.png": (3, np.uint16),
    "colour16.tif": (3, np.uint16),
    "alpha.png": (4, np.uint8),
    "alpha16.png": (4, np.uint16),
}
COLOR_TYPES = ("color", "grayscale", "unchanged")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channels")
    for name, (channels, dtype) in FILES.items():
        shape = (8, 9, channels) if channels else (8, 9)
        cv2.imwrite(str(folder / name), np.full(shape, np.iinfo(dtype).max, dtype))
    Image.new("LA", (9, 8)).save(folder / "greyalpha.png")
    Image.new("P", (9, 8)).save(folder / "clear.png", transparency=0)
    Image.new("1", (9, 8)).save(folder / "bits.png")
    return folder


@pytest.mark.parametrize("color_type", COLOR_TYPES)
def test_as_the_loader_does(folder: Path, color_type: str) -> None:
    load = LoadImageFromFile(color_type=color_type)
    for path in sorted(folder.iterdir()):
        facts = read_image_facts(path)
        image = np.atleast_3d(load(dict(img_path=str(path)))["img"])
        assert not list(Reading("unchanged", facts.channels).notes(facts))
        # The loader and the check agree on the channels, and on what is lost.
        found = dict(Reading(color_type, image.shape[2]).notes(facts))
        assert "image-channels" not in found, path
        assert "image-channels" in dict(Reading(color_type, 7).notes(facts))
        lost = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert ("image-deep" in found) == (lost.dtype != image.dtype), path
        has_alpha = lost.ndim == 3 and lost.shape[2] == 4
        assert ("image-alpha" in found) == (has_alpha and image.shape[2] < 4), path


def test_of_a_config() -> None:
    pipeline = [dict(type="LoadImageFromFile", color_type="unchanged")]
    four = dict(backbone=dict(in_channels=4))
    assert Reading.of_config(dict(pipeline=pipeline), four) == Reading("unchanged", 4)
    assert Reading.of_config(dict(pipeline=[dict(type="LoadImageFromFile")]), None) == Reading()
    other = [dict(type="LoadImageFromFile", imdecode_backend="tifffile")]
    assert Reading.of_config(dict(pipeline=other), four).color_type is None
