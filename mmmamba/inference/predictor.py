"""A trained detector or segmentor that takes images and gives results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import TRANSFORMS, DefaultScope
from pycocotools import mask as coco_mask

from ..datasets.checks.splits import plain_datasets
from ..errors import UsageError
from ..structures.objects import Objects
from .classes import find_classes
from .opening import open_model
from .results import Detections, Segmentation
from .sources import UnreadableImage, local_file
from .tiles import Tile, merge_logits, merge_objects, tile_rows

TILE = 1024
OVERLAP = 0.25


class Predictor:
    """A trained model, from what a user calls it: `Predictor("work_dirs/demo")("photo.jpg").save("found.jpg")`.

    Args:
        model: a run's folder, a checkpoint in it, or a config by path or name.
        checkpoint: file or URL; found by itself for a run and for a config whose authors published weights.
        device: "cuda" where there is one, if None.
        cfg_options: settings that replace the config's, by dotted key.
        score_thr: objects below this score are left out.
        tile: images that are larger go through the model in tiles of this many pixels a side; None never does.
        overlap: of neighbouring tiles, as a share of their side; objects up to this size are seen whole in one.
        batch_size: images or tiles that go through the model at a time.

    Raises:
        UsageError: no such model, no weights, no such device, or a value out of range.
        CheckpointError: the weights cannot be had, or do not fit.
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None = None,
        *,
        device: str | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        score_thr: float = 0.3,
        tile: int | None = None,
        overlap: float = OVERLAP,
        batch_size: int = 1,
    ) -> None:
        _check_range("score_thr", score_thr, 0 <= score_thr <= 1, "from 0 to 1")
        _check_range("tile", tile, tile is None or tile >= 32, "of 32 pixels or more")
        _check_range("overlap", overlap, 0 <= overlap <= 0.9, "a share of the tile from 0 to 0.9")
        _check_range("batch_size", batch_size, batch_size >= 1, "of 1 or more")
        self.score_thr, self.tile, self.overlap, self.batch_size = (
            score_thr,
            tile,
            overlap,
            batch_size,
        )
        opened = open_model(model, checkpoint, device, cfg_options)
        self.model, self.config, self.checkpoint = opened.model, opened.config, opened.checkpoint
        self.task = _task(self.model)
        self.classes = find_classes(self.model, opened.cfg, opened.meta)
        with DefaultScope.overwrite_default_scope(opened.cfg.get("default_scope", "mmdet")):
            self._load, self._prepare = _pipeline(opened.cfg, opened.config)

    def __call__(self, image: str | Path | np.ndarray) -> Detections | Segmentation:
        """Predict one image: a path, a URL, or an array (H, W, 3) of blue, green, red in 0 … 255.

        Raises:
            UnreadableImage: it cannot be read.
        """
        return self.predict([image])[0]

    def predict(
        self, images: Sequence[str | Path | np.ndarray]
    ) -> list[Detections] | list[Segmentation]:
        """Predict several images of any sizes. The results do not depend on what stands together."""
        loaded = [image if isinstance(image, np.ndarray) else self.read(image) for image in images]
        results: list[Any] = [None] * len(loaded)
        whole = [index for index, image in enumerate(loaded) if not self._needs_tiles(image)]
        for index, sample in zip(whole, self._forward([loaded[index] for index in whole])):
            results[index] = self._result(loaded[index], sample)
        for index, image in enumerate(loaded):
            if results[index] is None:
                results[index] = self._predict_in_tiles(image)
        return results

    def read(self, path: str | Path) -> np.ndarray:
        """An image (H, W, 3) as the config's own loader reads it: turned as EXIF says, grey as three channels, 8 bits.

        Raises:
            UnreadableImage: it cannot be read.
        """
        with local_file(str(path)) as file:
            try:
                return self._load(dict(img_path=str(file)))["img"]
            except (AssertionError, cv2.error) as error:
                # mmcv's loader asserts that OpenCV could decode the file.
                more = f" ({error.err})" if isinstance(error, cv2.error) else ""
                raise UnreadableImage(
                    f"{path}: no image of a known format, or damaged{more}"
                ) from error
            except (OSError, ValueError) as error:
                raise UnreadableImage(f"{path}: {error}") from error

    def _needs_tiles(self, image: np.ndarray) -> bool:
        return self.tile is not None and max(image.shape[:2]) > self.tile

    def _predict_in_tiles(self, image: np.ndarray) -> Detections | Segmentation:
        height, width = image.shape[:2]
        overlap = round(self.overlap * self.tile)
        rows = tile_rows(height, width, self.tile, overlap)
        tiles = [tile for row in rows for tile in row]
        samples = self._forward_tiles(image, tiles)
        if self.task == "detection":
            merged = merge_objects(
                tiles, [self._objects(sample) for sample in samples], height, width
            )
            return Detections(_eight_bits(image), merged, self.classes)
        logits = (sample.seg_logits.data.float().cpu().numpy() for sample in samples)
        threshold = getattr(self.model.decode_head, "threshold", None)
        labels = merge_logits(rows, logits, height, width, overlap, threshold)
        return Segmentation(_eight_bits(image), labels, self.classes)

    def _forward_tiles(self, image: np.ndarray, tiles: Sequence[Tile]) -> Iterator[Any]:
        for start in range(0, len(tiles), self.batch_size):
            yield from self._forward(
                [tile.of(image) for tile in tiles[start : start + self.batch_size]]
            )

    @torch.no_grad()
    def _forward(self, images: Sequence[np.ndarray]) -> list[Any]:
        """What the model says of each image. Only images of one size share a batch: padding would change results."""
        batches = defaultdict(list)
        for index, image in enumerate(images):
            data = self._prepare(
                dict(
                    img=image,
                    img_shape=image.shape[:2],
                    ori_shape=image.shape[:2],
                    img_id=index,
                    img_path=None,
                )
            )
            batches[tuple(data["inputs"].shape), image.shape[:2]].append((index, data))
        samples: list[Any] = [None] * len(images)
        for batch in batches.values():
            for start in range(0, len(batch), self.batch_size):
                indices, data = zip(*batch[start : start + self.batch_size])
                for index, sample in zip(indices, self.model.test_step(pseudo_collate(data))):
                    samples[index] = sample
        return samples

    def _result(self, image: np.ndarray, sample: Any) -> Detections | Segmentation:
        if self.task == "detection":
            return Detections(_eight_bits(image), self._objects(sample), self.classes)
        labels = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.int32)
        return Segmentation(_eight_bits(image), labels, self.classes)

    def _objects(self, sample: Any) -> Objects:
        found = sample.pred_instances
        found = found[found.scores >= self.score_thr].cpu()
        found = found[found.scores.argsort(descending=True)]
        boxes = getattr(found.bboxes, "tensor", found.bboxes)
        masks = None
        if "masks" in found:
            masks = [
                coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
                for mask in found.masks
            ]
        return Objects(
            boxes.float().numpy(), found.scores.float().numpy(), found.labels.numpy(), masks
        )


def _pipeline(cfg: Any, config: Path) -> tuple[Any, Compose]:
    """The config's loader of files, and what it does to an image after, without annotations."""
    dataset = next(plain_datasets((cfg.get("test_dataloader") or {}).get("dataset")), {})
    steps = [
        step
        for step in dataset.get("pipeline") or ()
        if not str(step["type"]).endswith("Annotations")
    ]
    if not steps or "Load" not in str(steps[0]["type"]):
        raise UsageError(
            f"{config} does not say how images are prepared: test_dataloader.dataset.pipeline must begin with "
            "dict(type='LoadImageFromFile')"
        )
    return TRANSFORMS.build(steps[0]), Compose(steps[1:])


def _task(model: torch.nn.Module) -> str:
    """ "detection" or "segmentation"."""
    from mmdet.models import BaseDetector
    from mmseg.models import BaseSegmentor

    if isinstance(model, BaseSegmentor):
        return "segmentation"
    if isinstance(model, BaseDetector) and not hasattr(model, "panoptic_fusion_head"):
        return "detection"
    raise UsageError(
        f"{type(model).__name__} is neither a detector of MMDetection nor a segmentor of MMSegmentation"
    )


def _eight_bits(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.clip(image, 0, 255).astype(np.uint8)


def _check_range(name: str, value: Any, fits: bool, wanted: str) -> None:
    if not fits:
        raise UsageError(f"{name} is {value}, wanted a value {wanted}")
