"""What two processes find for test_tiled_coco.py: AP of images whose tiles are on both."""

from __future__ import annotations

from pathlib import Path

from mmengine.dataset import DefaultSampler
from mmengine.registry import DATASETS, METRICS, DefaultScope

import mmmamba.detection  # noqa: F401

from .scenes import Oracle, coco_dataset, write_scenes


def find(folder: Path) -> dict:
    """The metrics, and the tiles of each image that this process saw."""
    write_scenes(folder, [(130, 180), (90, 150), (40, 60)])
    with DefaultScope.overwrite_default_scope("mmdet"):
        inner = coco_dataset(folder, serialize_data=False)
        dataset = DATASETS.build(dict(type="TiledDataset", size=64, overlap=0.2, dataset=inner))
        file = str(folder / "scenes.json")
        metric = METRICS.build(dict(type="TiledCocoMetric", ann_file=file, metric=["bbox", "segm"]))
    metric.dataset_meta = dataset.metainfo
    oracle, seen = Oracle(folder), {}
    # An odd number of tiles: one comes to both.
    for index in DefaultSampler(dataset, shuffle=False):
        sample = oracle(dataset[index])
        metric.process({}, [sample])
        seen.setdefault(sample["img_id"], []).append(index)
    # mmengine hands the numbers of the first process to all.
    return dict(metrics=metric.evaluate(len(dataset)), seen=seen, tiles=len(dataset))
