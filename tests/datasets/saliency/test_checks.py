"""`check-data` names what is wrong with maps of saliency."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmmamba.segmentation  # noqa: F401  (registers the data set)
from mmmamba.datasets.checks.run import Checked, check_split
from mmmamba.datasets.checks.samples import samples_of
from mmmamba.datasets.checks.splits import config_splits
from mmmamba.datasets.saliency.drawn import make_saliency
from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.structures.classes import Classes
from mmmamba.visualization.sheets.contact_sheet import draw_contact_sheet

from .test_saliency import CONFIG


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_saliency(tmp_path / "shapes", ShapesSpec(num_train=4, num_val=1, size=64))


def checked(root: Path) -> Checked:
    cfg = Config.fromfile(CONFIG)
    init_default_scope("mmseg")
    cfg.default_scope = "mmseg"
    cfg.train_dataloader.dataset.data_root = str(root)
    (split,) = config_splits(cfg, ("train",))
    assert split.is_known
    return check_split(cfg, split)


def test_what_is_drawn_is_clean_and_shown(root: Path, tmp_path: Path) -> None:
    found = checked(root)
    assert found.report.clean and found.report.images == 4 and len(found.images()) == 4
    looked_at = found.report.classes["looked at"]
    assert looked_at.images == 4 and 40 < looked_at.amount <= 80
    samples = samples_of(found, 3)
    assert len(samples) == 3 and all(sample.saliency.max() > 0 for sample in samples)
    classes = Classes.from_meta(found.split.dataset.metainfo)
    assert draw_contact_sheet(samples, classes, tmp_path / "sheet.png", "train").is_file()


def test_every_fault_is_named(root: Path) -> None:
    maps, fixations = root / "maps" / "train", root / "fixations" / "train"
    names = [path.name for path in sorted((root / "images" / "train").iterdir())]
    (maps / names[0]).unlink()
    (fixations / names[0]).write_bytes(b"cut off")
    cv2.imwrite(str(maps / names[1]), np.zeros((64, 64), np.uint8))
    cv2.imwrite(str(fixations / names[1]), np.full((64, 64), 9, np.uint8))
    cv2.imwrite(str(maps / names[2]), np.full((64, 90), 9, np.uint8))
    cv2.imwrite(str(fixations / names[2]), np.zeros((64, 64), np.uint8))
    (fixations / names[3]).unlink()
    assert checked(root).report.counts == {
        "saliency-missing": 1,
        "label-unreadable": 1,
        "saliency-empty": 1,
        "fixations-many": 1,
        "map-shape": 1,
        "fixations-none": 1,
        "fixations-missing": 1,
    }
