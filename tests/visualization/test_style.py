"""Texts fit, and a picture is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmmamba.visualization.style import drawing_font, fitting, save_figure, save_image, shortened


def test_long_names_are_cut_behind_and_long_titles_in_front() -> None:
    assert shortened("  cat ") == "cat" and shortened("a" * 40) == "a" * 23 + "…"
    font = drawing_font(900)
    assert fitting("photo.jpg", font, 480) == "photo.jpg"
    cut = fitting("folder/" * 40 + "photo.jpg", font, 480)
    assert cut.startswith("…") and cut.endswith("photo.jpg") and font.getlength(cut) <= 480
    assert fitting("photo.jpg", font, 1) == "…"


@pytest.mark.parametrize("name", ["a.png", "new/a.jpg", "new/deep/a.JPG"])
def test_images_come_back(tmp_path: Path, name: str) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(16, axis=0)
    path = save_image(tmp_path / name, ramp)
    np.testing.assert_allclose(cv2.imread(str(path)).astype(int), ramp, atol=4)


def test_label_maps_keep_their_depth(tmp_path: Path) -> None:
    labels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    path = save_image(tmp_path / "labels.png", labels)
    assert (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) == labels).all()


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(OSError, match="a.photo could not be written.* Name a .jpg or .png"):
        save_image(tmp_path / "a.photo", image)
    (tmp_path / "file").write_text("")
    for save in (lambda path: save_image(path, image), lambda path: save_figure(Figure(), path)):
        with pytest.raises(OSError, match="file"):
            save(tmp_path / "file" / "a.png")
