"""Results tell what they hold by name, as tables and as COCO's entries."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmmamba.errors import UsageError
from mmmamba.inference import Predictor


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red object of 30 x 20 pixels and a smaller blue one."""
    image = np.full((60, 80, 3), 20, np.uint8)
    image[10:30, 20:50, 2] = 250
    image[40:50, 5:20, 0] = 250
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture(scope="module")
def found(detector_run: Path, photo: Path) -> Any:
    return Predictor(detector_run)(photo)


def test_objects_by_name(found: Any, photo: Path) -> None:
    assert len(found) == 2 and found.names == ["red", "blue"] and found.labels.tolist() == [2, 0]
    assert found.boxes.tolist() == [[20, 10, 50, 30], [5, 40, 20, 50]]
    assert found.scores[0] > found.scores[1] > 0.7
    assert found.masks.shape == (2, 60, 80) and found.masks.dtype == bool
    assert found.masks.sum((1, 2)).tolist() == [600, 150] and found.masks[0, 10:30, 20:50].all()
    assert repr(found) == f"<Detections in {photo}, 80 x 60: 1 red, 1 blue>"


def test_objects_as_a_table(found: Any) -> None:
    table = found.to_pandas()
    assert table.columns.tolist() == ["name", "score", "x1", "y1", "x2", "y2", "label"]
    assert table.to_dict("records") == found.rows()
    assert table[table.name == "blue"].x2.tolist() == [20]


def test_entries_of_coco_name_their_classes(found: Any) -> None:
    assert [entry["category_name"] for entry in found.to_coco()] == ["red", "blue"]


def test_a_notebook_shows_the_picture(found: Any) -> None:
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown, found.plot())


def test_nothing_found(detector_run: Path) -> None:
    found = Predictor(detector_run)(np.zeros((30, 40, 3), np.uint8))
    assert found.names == [] and found.masks.shape == (0, 30, 40) and found.rows() == []
    assert found.to_pandas().columns.tolist()[:2] == ["name", "score"]
    assert repr(found) == "<Detections in an array, 40 x 30: nothing found>"


def test_classes_of_pixels(segmentor_run: Path, photo: Path) -> None:
    found = Predictor(segmentor_run)(photo)
    assert found.names == ["nothing", "red", "blue"] and len(found) == 3
    assert found.mask("red").sum() == 600
    with pytest.raises(UsageError, match="there is no class 'read'.*Did you mean 'red'"):
        found.mask("read")
    assert found.to_pandas().pixels.tolist() == [4050, 600, 150]
    entries = {entry["category_name"]: entry for entry in found.to_coco(image_id=3)}
    assert coco_mask.area(entries["blue"]["segmentation"]) == 150
    assert entries["blue"]["image_id"] == 3
    assert repr(found).endswith("80 x 60: nothing 84.4%, red 12.5%, blue 3.1%>")


def test_without_pandas(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'")
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="pip install pandas"):
        found.to_pandas()
