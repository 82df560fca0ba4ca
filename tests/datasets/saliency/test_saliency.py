"""Folders of saliency: what belongs together, what is read, what resizing leaves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, init_default_scope
from scipy.io import savemat

import mmmamba.segmentation  # noqa: F401  (registers the data set and its transforms)
from mmmamba.datasets.saliency.files import moved_fixations, read_fixations, read_saliency
from mmmamba.errors import UsageError

CONFIG = Path(__file__).parents[3] / "configs" / "_base_" / "datasets" / "salicon.py"
HEIGHT, WIDTH = 48, 80


def write(root: Path, split: str, name: str, mat: bool = False) -> None:
    """An image, a map that is half as salient at the left, and two fixations."""
    for folder in ("images", "maps", "fixations"):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / split / f"{name}.jpg"), np.full((HEIGHT, WIDTH, 3), 90))
    saliency = np.full((HEIGHT, WIDTH), 255, np.uint8)
    saliency[:, : WIDTH // 2] = 51
    cv2.imwrite(str(root / "maps" / split / f"{name}.png"), saliency)
    points = np.zeros((HEIGHT, WIDTH), np.uint8)
    points[10, 20] = points[47, 79] = 255
    if mat:
        gaze = np.empty((1, 2), dtype=[("fixations", object)])
        gaze["fixations"][0] = [np.array([[21, 11]], np.uint16), np.array([[80, 48], [99, 1]])]
        held = dict(resolution=[HEIGHT, WIDTH], gaze=gaze)
        savemat(root / "fixations" / split / f"{name}.mat", held)
    else:
        cv2.imwrite(str(root / "fixations" / split / f"{name}.png"), points)


def build(root: Path, split: str = "train", **others: object) -> object:
    cfg = Config.fromfile(CONFIG)
    init_default_scope("mmseg")
    return DATASETS.build({**cfg[f"{split}_dataloader"].dataset, "data_root": str(root), **others})


@pytest.mark.parametrize("mat", [False, True])
def test_a_sample_of_each_split(mat: bool, tmp_path: Path) -> None:
    write(tmp_path, "train", "a", mat)
    write(tmp_path, "val", "b", mat)
    item = build(tmp_path)[0]
    sample = item["data_samples"]
    assert item["inputs"].shape == (3, 256, 256) and sample.condition == "natural_mouse"
    saliency, fixations = sample.gt_saliency.data, sample.gt_fixation.data
    assert saliency.shape == fixations.shape == (1, 256, 256)
    assert saliency.min() == pytest.approx(0.2) and saliency.max() == 1
    assert fixations.sum() == 2 and fixations[0, 255, 255] == 0 and fixations[0, 253, 254] == 1
    # What is compared keeps the size of its file.
    sample = build(tmp_path, "val")[0]["data_samples"]
    assert sample.gt_saliency.data.shape == (1, HEIGHT, WIDTH)
    assert sample.gt_fixation.data[0].nonzero().tolist() == [[10, 20], [47, 79]]
    assert sample.ori_shape == (HEIGHT, WIDTH)


def test_flips_take_the_maps_along(tmp_path: Path) -> None:
    write(tmp_path, "train", "a")
    pipeline = Config.fromfile(CONFIG).train_pipeline
    pipeline.insert(-1, dict(type="RandomFlip", prob=1.0, direction="horizontal"))
    sample = build(tmp_path, pipeline=pipeline)[0]["data_samples"]
    assert sample.gt_saliency.data[0, 0, 0] == 1 and sample.gt_fixation.data[0, 253, 1] == 1


def test_images_without_fixations_are_a_data_set_too(tmp_path: Path) -> None:
    write(tmp_path, "train", "a")
    folders = dict(img_path="images/train", saliency_map_path="maps/train")
    sample = build(tmp_path, data_prefix=folders, condition=None)[0]["data_samples"]
    assert "gt_fixation" not in sample and "condition" not in sample.metainfo
    with pytest.raises(UsageError, match="lacks saliency_map_path"):
        build(tmp_path, data_prefix=dict(img_path="images/train"))


@pytest.mark.parametrize("folder, kind", [("maps", "saliency"), ("fixations", "fixation")])
def test_a_missing_map_is_told(folder: str, kind: str, tmp_path: Path) -> None:
    write(tmp_path, "train", "a")
    write(tmp_path, "train", "b")
    next((tmp_path / folder / "train").glob("b.*")).unlink()
    with pytest.raises(UsageError, match=f"1 of 2 images have no {kind} map.*b.jpg"):
        build(tmp_path)


def test_maps_of_other_kinds() -> None:
    deep = cv2.imencode(".png", np.full((2, 3), 65535 // 5, np.uint16))[1].tobytes()
    np.testing.assert_allclose(read_saliency(deep, "a.png"), 0.2)
    grey = cv2.imencode(".png", np.full((2, 3, 3), 51, np.uint8))[1].tobytes()
    np.testing.assert_allclose(read_saliency(grey, "a.png"), 0.2)
    coloured = cv2.imencode(".png", np.uint8([[[1, 2, 3]]]))[1].tobytes()
    with pytest.raises(ValueError, match="a.png has colours"):
        read_saliency(coloured, "a.png")
    with pytest.raises(ValueError, match="a.png is no image"):
        read_fixations(b"nothing", "a.png")
    with pytest.raises(ValueError, match="a.mat is no file of fixations"):
        read_fixations(b"nothing at all, but long enough for a header" * 9, "a.mat")


def test_fixations_move_and_none_is_lost() -> None:
    fixations = np.zeros((6, 9), np.uint8)
    fixations[0, 0] = fixations[5, 8] = fixations[2, 4] = 1
    larger = moved_fixations(fixations, (12, 18))
    assert np.argwhere(larger).tolist() == [[1, 1], [5, 9], [11, 17]]
    assert np.argwhere(moved_fixations(fixations, (3, 3))).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_pipeline_of_the_config_is_said(tmp_path: Path) -> None:
    pipeline = Compose(Config.fromfile(CONFIG).test_pipeline)
    assert "fit=False" in repr(pipeline)
