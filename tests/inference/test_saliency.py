"""Saliency as a result: the map, its peak, and what is drawn and written of it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmamba.errors import UsageError
from mmmamba.inference import Saliency, find_sources
from mmmamba.inference.arguments import check_task
from mmmamba.inference.sources import Frame
from mmmamba.inference.writing import ResultFolder
from mmmamba.structures.classes import Classes


def result() -> Saliency:
    found = np.zeros((40, 60), np.float32)
    found[10, 50] = 0.5
    return Saliency(np.full((40, 60, 3), 90, np.uint8), found, "a.png")


def test_the_peak_is_told() -> None:
    found = result()
    assert found.peak == (10, 50) and "most salient at x 50, y 10 (0.50)" in repr(found)
    (row,) = found.rows()
    assert row == dict(peak_x=50, peak_y=10, peak=0.5, mean=pytest.approx(0.5 / 2400))


def test_the_glow_is_brightest_at_the_peak() -> None:
    drawn = result().plot().sum(2, dtype=int)
    scale = drawn.shape[0] // 40
    assert drawn.shape == (40 * scale, 60 * scale)
    y, x = np.unravel_index(drawn.argmax(), drawn.shape)
    assert (y // scale, x // scale) == (10, 50)
    assert drawn[0, 0] < 270, "darkened where nothing is salient"


def test_a_folder_of_results(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 60, 3)))
    (source,) = find_sources([str(tmp_path / "a.png")])
    classes = Classes.from_meta(dict(classes=("saliency",)))
    with ResultFolder(tmp_path / "out", [source], classes, "saliency") as folder:
        folder.add(Frame(source, 0, 0.0, result().image), result())
    saved = cv2.imread(str(tmp_path / "out/maps/a.png"), cv2.IMREAD_UNCHANGED)
    assert saved.dtype == np.uint16 and saved[10, 50] == 32768 and saved.shape == (40, 60)
    (entry,) = json.loads((tmp_path / "out/images.json").read_text())["images"]
    assert entry["map"] == "maps/a.png" and entry["saliency"]["peak_x"] == 50
    assert (tmp_path / "out" / entry["picture"]).is_file()


@pytest.mark.parametrize(
    ("flag", "given"),
    [("score_thr", (0.5, None, None)), ("top_k", (None, 3, None)), ("tile", (None, None, 512))],
)
def test_what_means_nothing_is_refused(flag: str, given: tuple) -> None:
    with pytest.raises(UsageError, match=flag):
        check_task("saliency", *given)
