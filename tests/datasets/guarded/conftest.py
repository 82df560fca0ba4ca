"""Small data sets to spoil, and a loader that reads all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet.datasets  # noqa: F401  (registers)
import mmseg.datasets  # noqa: F401
import pytest
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from mmmamba.datasets.guarded import Ledger, build_checked
from mmmamba.datasets.shapes import CLASSES, SEG_CLASSES, ShapesSpec, make_shapes

SPEC = ShapesSpec(num_train=8, num_val=2, size=64, empty_every=100, crowd_every=4)
WORKERS = pytest.mark.parametrize("workers", [0, 2])


def _as_it_is(sample: dict) -> dict:
    return sample


class Data:
    """A data set of shapes in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "annotations" / "instances_train.json"
        self.ledger = Ledger(root / "bad.jsonl")

    def without_objects(self, index: int) -> None:
        """Take the annotations of an image away."""
        number = self.content["images"][index]["id"]
        self.rewrite(
            lambda c: c.update(annotations=[a for a in c["annotations"] if a["image_id"] != number])
        )

    @property
    def content(self) -> dict:
        return json.loads(self.file.read_text())

    def rewrite(self, change: Callable[[dict], Any]) -> None:
        """Change the annotation file."""
        content = self.content
        change(content)
        self.file.write_text(json.dumps(content))

    def image(self, index: int) -> Path:
        return self.root / "train" / self.content["images"][index]["file_name"]

    def detection(self, masks: bool = True, **options: Any) -> dict:
        pipeline = [
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=masks),
            dict(type="Resize", scale=(64, 64), keep_ratio=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ]
        images = str(self.root / "train")
        return (
            dict(
                type="CocoDataset",
                _scope_="mmdet",
                ann_file=str(self.file),
                data_prefix=dict(img=images),
                metainfo=dict(classes=CLASSES),
                filter_cfg=dict(filter_empty_gt=False),
                pipeline=pipeline,
                serialize_data=False,
            )
            | options
        )

    def segmentation(self, **options: Any) -> dict:
        pipeline = [
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="RandomCrop", crop_size=(32, 32)),
            dict(type="PackSegInputs"),
        ]
        folders = dict(img_path="train", seg_map_path="labels/train")
        return (
            dict(
                type="BaseSegDataset",
                _scope_="mmseg",
                data_root=str(self.root),
                data_prefix=folders,
                metainfo=dict(classes=SEG_CLASSES),
                img_suffix=".png",
                pipeline=pipeline,
                serialize_data=False,
            )
            | options
        )

    def fetch(self, cfg: dict, workers: int = 0, skip: bool = False) -> list[dict]:
        """Every sample of one epoch."""
        with DefaultScope.overwrite_default_scope(cfg.get("_scope_", "mmdet")):
            dataset = build_checked(cfg, self.ledger, skip)
        samples = iter(
            DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
        )
        try:
            return list(samples)
        finally:
            # Left to the garbage collector after an error, PyTorch waits ten seconds for its
            # workers.
            if workers:
                samples._shutdown_workers()

    def left_out(self) -> list[str]:
        return [f"{entry['kind']} {entry['what']}" for entry in self.ledger._new_entries()]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_shapes(tmp_path_factory.mktemp("shapes") / "data", SPEC))


@pytest.fixture
def data(drawn: Path, tmp_path: Path) -> Data:
    shutil.copytree(drawn, tmp_path / "data")
    return Data(tmp_path / "data")
