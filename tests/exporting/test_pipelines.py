"""Pipelines of configs, changed so that images fit into a file's size."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

import mmmamba  # noqa: F401  before mmdet, which imports mmcv's operators
from mmmamba.exporting.pipelines import fit_tests, fitted

LOAD = dict(type="LoadImageFromFile")
LABELS = dict(type="LoadAnnotations", with_bbox=True)
PACK = dict(type="PackDetInputs", meta_keys=("ori_shape", "img_shape"))
LANDSCAPE, PORTRAIT = (60, 90), (90, 60)


def sizes(steps: list[dict], shape: tuple[int, int]) -> dict:
    """What a pipeline, without its loaders, makes of an image of a size."""
    rest = [step for step in steps if not step["type"].startswith("Load")]
    with DefaultScope.overwrite_default_scope("mmdet"):
        run = Compose(rest)
    image = np.zeros((*shape, 3), np.uint8)
    packed = run(dict(img=image, img_shape=shape, ori_shape=shape))
    meta = packed["data_samples"].metainfo
    return dict(meta, shape=tuple(packed["inputs"].shape[1:]))


@pytest.mark.parametrize(
    ("step", "landscape", "portrait"),
    [
        # 100 wide, or 96 high.
        (dict(type="Resize", scale=(1333, 800), keep_ratio=True), (67, 100), (96, 64)),
        (dict(type="Resize", scale=(200, 200)), (96, 100), (96, 100)),
        (dict(type="ResizeShortestEdge", scale=50, max_size=200), (67, 100), (96, 64)),
        (dict(type="Letterbox", size=640, rect=True), (96, 100), (96, 100)),
        # It fits already.
        (dict(type="Resize", scale=(90, 60), keep_ratio=True), (60, 90), (90, 60)),
        (None, (60, 90), (90, 60)),
    ],
)
def test_whatever_resizes_fits(step: dict | None, landscape: tuple, portrait: tuple) -> None:
    steps = fitted([LOAD, *([step] if step else []), PACK], (96, 100))
    found = [sizes(steps, shape) for shape in (LANDSCAPE, PORTRAIT)]
    assert [one["shape"] for one in found] == [landscape, portrait]
    # Boxes find their way back from another size.
    assert all("scale_factor" in one or one["shape"] == one["ori_shape"] for one in found)


def test_what_is_too_large_is_made_smaller_where_nothing_resizes() -> None:
    steps = fitted([LOAD, PACK], (48, 48))
    found = sizes(steps, LANDSCAPE)
    assert found["shape"] == (32, 48) and found["scale_factor"] == pytest.approx(
        (0.533, 0.533), 0.01
    )
    assert sizes(steps, (20, 30))["shape"] == (20, 30)


def test_padding_is_to_the_files_size() -> None:
    pad = dict(type="Pad", size_divisor=64, pad_val=dict(img=(114, 114, 114)))
    resize = dict(type="Resize", scale=(500, 300), keep_ratio=True)
    found = sizes(fitted([LOAD, resize, pad, PACK], (96, 128)), LANDSCAPE)
    assert found["shape"] == (96, 128) == found["img_shape"]


def test_labels_are_read_behind_what_resizes() -> None:
    resize = dict(type="Resize", scale=(500, 300), keep_ratio=True)
    kinds = [step["type"] for step in fitted([LOAD, LABELS, resize, PACK], (64, 64))]
    assert kinds == ["LoadImageFromFile", "FitWithin", "LoadAnnotations", "PackDetInputs"]


def test_what_fits_stays_as_it_is() -> None:
    steps = [LOAD, LABELS, dict(type="Resize", scale=(64, 64), keep_ratio=True), PACK]
    assert fitted(steps, (64, 96)) == steps


def test_one_line_tells_what_was_changed() -> None:
    resize = dict(type="Resize", scale=(500, 300), keep_ratio=True)
    dataset = dict(type="CocoDataset", pipeline=[LOAD, resize, PACK])
    cfg = Config(dict(test_dataloader=dict(dataset=dict(type="RepeatDataset", dataset=dataset))))
    (line,) = fit_tests(cfg, (64, 96), "model.onnx")
    assert line.startswith("model.onnx takes images of 64x96 alone") and "FitWithin" in line
    changed = cfg.test_dataloader.dataset.dataset.pipeline
    assert [step["type"] for step in changed][1] == "FitWithin"
    fits = dict(type="Resize", scale=(64, 64), keep_ratio=True)
    pack = dict(PACK, meta_keys=("ori_shape", "scale_factor"))
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[LOAD, fits, pack]))))
    assert fit_tests(cfg, (64, 96), "model.onnx") == []
