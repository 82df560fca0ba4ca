"""COCO's AP of whole images, from what a detector found in their tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.metrics import CocoMetric
from mmengine.registry import METRICS

from ..errors import UsageError
from ..structures.joined_objects import merge_objects
from ..structures.objects import Objects
from ..structures.tiles import ImageTile
from .coco_results import KINDS, Results, precisions

KEY = "tile"


@METRICS.register_module()
class TiledCocoMetric(CocoMetric):
    """mmdet's `CocoMetric` over `TiledDataset`: finds of tiles are joined before they are scored.

    They are joined as `mmmamba infer --tile` joins them, after they were collected from all
    processes, so that tiles of one image may be on several. Labels are those of the whole images.
    `mAP` counts as many detections of a class and image as `mAP_50` and the others do, the last of
    `proposal_nums`; mmdet's stops at 100 there, which crowded aerial images exceed.

    Args:
        ann_file: COCO's file of the whole images.
        **settings: those of `CocoMetric`.

    Raises:
        UsageError: no file, or a metric that whole images do not have.
    """

    def __init__(self, ann_file: str | None = None, **settings: Any) -> None:
        if ann_file is None:
            raise UsageError(
                "TiledCocoMetric scores whole images, whose labels are in their file: name it by "
                "ann_file"
            )
        super().__init__(ann_file=ann_file, **settings)
        if unfit := {"proposal", "proposal_fast"} & {*self.metrics}:
            raise UsageError(
                f"TiledCocoMetric scores bbox and segm, not {', '.join(sorted(unfit))}: tiles have "
                "proposals of their own"
            )

    @property
    def counted(self) -> int:
        """Detections of a class and image that AP counts."""
        return max(self.proposal_nums)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what was found in each tile.

        Raises:
            UsageError: a sample is none of `TiledDataset`, or its masks have scores of their own.
        """
        for sample in data_samples:
            if KEY not in sample:
                raise UsageError(
                    "TiledCocoMetric joins tiles, and the data set gives whole images: wrap it in "
                    "TiledDataset (--tile), or score by CocoMetric"
                )
            if "mask_scores" in sample["pred_instances"]:
                raise UsageError(
                    "the detector scores masks apart from boxes (mask_scores), which tiles cannot "
                    "be joined by"
                )
        before = len(self.results)
        super().process(data_batch, data_samples)
        for (label, _), sample in zip(self.results[before:], data_samples):
            label[KEY] = sample[KEY]

    def compute_metrics(self, results: Results) -> dict[str, float]:
        """The AP of the images that the tiles make up."""
        joined = self.whole_images(results)
        metrics = super().compute_metrics(joined)
        if not self.format_only and self.counted != 100:
            # mmdet hands pycocotools' first number on, which knows no other limit than 100.
            names = {kind: name for name, kind in KINDS.items()}
            for precision in precisions(self, joined):
                if (key := f"{names[precision.kind]}_mAP") in metrics:
                    metrics[key] = round(precision.average(), 3)
        return metrics

    def whole_images(self, results: Results) -> Results:
        """Labels and predictions of images from those of tiles; of images they stay as they are.

        Raises:
            UsageError: tiles of an image are missing.
        """
        if not any(KEY in label for label, _ in results):
            return results
        # The last batches of several processes may bring a tile twice.
        images: dict[Any, dict[ImageTile, dict]] = {}
        for label, prediction in results:
            images.setdefault(label["img_id"], {}).setdefault(label[KEY], prediction)
        return [_join(image, found) for image, found in images.items()]


def _join(image: Any, found: dict[ImageTile, dict]) -> tuple[dict, dict]:
    # In one order, whichever process was faster: ties are broken by it.
    tiles = sorted(found, key=lambda tile: (tile.y, tile.x))
    height, width, count = tiles[0].image_height, tiles[0].image_width, tiles[0].count
    if len(tiles) != count:
        raise UsageError(
            f"image {image} has {count} tiles, and {len(tiles)} were predicted: a test needs all "
            "of them"
        )
    objects = merge_objects(tiles, [_objects(found[tile]) for tile in tiles], height, width)
    prediction = dict(
        img_id=image, bboxes=objects.boxes, scores=objects.scores, labels=objects.labels
    )
    if objects.masks is not None:
        prediction["masks"] = objects.masks
    return dict(img_id=image, height=height, width=width), prediction


def _objects(prediction: dict) -> Objects:
    return Objects(
        np.asarray(prediction["bboxes"], dtype=np.float32).reshape(-1, 4),
        np.asarray(prediction["scores"], dtype=np.float32),
        np.asarray(prediction["labels"], dtype=np.int64),
        prediction.get("masks"),
    )
