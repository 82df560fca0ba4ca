"""Label maps are read as mmseg reads them, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmamba.datasets.checks import check_segmentation
from mmmamba.datasets.checks.segmentation import class_of_value


def write(
    folder: Path, name: str, labels: np.ndarray, image_size: tuple[int, int] = (8, 6)
) -> tuple[str, str]:
    Image.new("RGB", image_size).save(folder / f"{name}.jpg")
    Image.fromarray(labels).save(folder / f"{name}.png")
    return str(folder / f"{name}.jpg"), str(folder / f"{name}.png")


def test_labels_and_their_faults(tmp_path: Path) -> None:
    good = np.zeros((6, 8), np.uint8)
    good[:2], good[2] = 1, 255
    pairs = [
        write(tmp_path, "good", good),
        write(tmp_path, "range", np.full((6, 8), 2, np.uint8)),
        write(tmp_path, "size", np.zeros((8, 6), np.uint8)),
        write(tmp_path, "colours", np.zeros((6, 8, 3), np.uint8)),
        write(tmp_path, "broken", good),
        (write(tmp_path, "lonely", good)[0], str(tmp_path / "nothing.png")),
    ]
    Path(pairs[4][1]).write_bytes(b"no png")
    report = check_segmentation(pairs, ("road", "sky"))
    found = {}
    for kind, kept in report.examples.items():
        found[kind] = [Path(finding.file).stem for finding in kept]
    assert found == {
        "label-range": ["range"],
        "label-size": ["size"],
        "label-channels": ["colours"],
        "label-unreadable": ["broken"],
        "label-missing": ["nothing"],
    }
    assert "values 2; wanted 0 … 1 or 255" in report.examples["label-range"][0].detail
    assert (report.classes["sky"].amount, report.classes["sky"].images) == (16, 1)
    assert report.classes["road"].amount == 24 + 48


def test_a_palette_image_counts_by_its_indices(tmp_path: Path) -> None:
    labels = np.ones((6, 8), np.uint8)
    pair = write(tmp_path, "a", labels)
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([200, 10, 10, 10, 200, 10])
    palette.save(pair[1])
    assert check_segmentation([pair], ("road", "sky")).classes["sky"].amount == 48


@pytest.mark.parametrize("reduce_zero_label", [False, True])
def test_values_mean_what_mmseg_makes_of_them(tmp_path: Path, reduce_zero_label: bool) -> None:
    from mmseg.datasets.transforms import LoadAnnotations

    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "all.png")
    loaded = LoadAnnotations()(
        dict(
            seg_map_path=str(tmp_path / "all.png"),
            seg_fields=[],
            label_map=None,
            reduce_zero_label=reduce_zero_label,
        )
    )["gt_seg_map"]
    for value, seen in zip(values.ravel().tolist(), loaded.ravel().tolist()):
        expected = seen if seen < 10 or seen == 255 else None
        # 255 and what becomes of it are left out in both.
        assert class_of_value(value, 10, reduce_zero_label=reduce_zero_label) == expected


def test_no_images() -> None:
    assert check_segmentation([], ("road",)).counts["no-images"] == 1
