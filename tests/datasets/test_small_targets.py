"""The drawn set of small targets, read as sets of small targets are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

import mmmamba.segmentation  # noqa: F401  (registers the data set)
from mmmamba.datasets.checks.run import check_split
from mmmamba.datasets.checks.segmentation import class_of_value
from mmmamba.datasets.checks.splits import config_splits
from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.datasets.small_targets import SmallTargetDataset
from mmmamba.datasets.targets import TargetsSpec, make_targets
from mmmamba.engine.demo import apply_demo
from mmmamba.evaluation.small_targets import components

CONFIG = Path(__file__).parents[2] / "configs/mim_istd/mim_istd_irstd-1k-512x512.py"
SPEC = TargetsSpec(num_train=6, num_val=3, size=64, empty_every=3)


def read(root: Path, split: str = "train", **given) -> list[np.ndarray]:
    from mmseg.datasets.transforms import LoadAnnotations

    data = SmallTargetDataset(
        f"{split}.txt",
        data_root=str(root),
        data_prefix=dict(img_path="images", seg_map_path="masks"),
        **given,
    )
    assert data.metainfo["classes"] == ("background", "target")
    return [LoadAnnotations()(data.get_data_info(i))["gt_seg_map"] for i in range(len(data))]


def test_masks_become_labels(tmp_path: Path) -> None:
    root = make_targets(tmp_path / "targets", SPEC)
    maps = read(root)
    # Every third image is empty; the others have targets of a few pixels.
    counts = [len(components(one > 0).areas_N) for one in maps]
    assert [bool(n) for n in counts] == [True, True, False] * 2
    assert set(np.unique(maps)) == {0, 1} and max(np.mean(one) for one in maps) < 0.02
    assert make_targets(root, SPEC) == root and len(read(root, "val")) == 3


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="other files"):
        make_targets(tmp_path, SPEC)


def test_smoothed_masks(tmp_path: Path) -> None:
    root = make_targets(tmp_path / "targets", SPEC)
    path = root / "masks/train_00000.png"
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED) // 2)
    assert set(np.unique(read(root)[0])) == {0, 127}
    assert set(np.unique(read(root, mask_values=range(2, 256))[0])) == {0, 1}


def test_check_data_reads_masks_as_training_does(tmp_path: Path) -> None:
    """255 is target here, and not what mmseg ignores."""
    assert class_of_value(255, 2, label_map={255: 1}) == 1
    cfg = Config.fromfile(CONFIG)
    apply_demo(cfg, tmp_path / "shapes", ShapesSpec(num_train=8, num_val=4, size=64))
    for split in config_splits(cfg):
        report = check_split(cfg, split).report
        assert report.classes["target"].amount > 0
        assert not report.counts, report.counts
