"""A trained detector, segmentor or classifier that takes images and gives results."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from pycocotools import mask as coco_mask

from ..acceleration.fusing import fuse
from ..acceleration.graphs import graph_model
from ..engine.precision import choose_precision
from ..engine.predicting import predict_in
from ..engine.preflight import check_graphs
from ..errors import UsageError
from ..exporting.files import format_of
from ..models.image_channels import image_channels
from ..structures.joined_objects import merge_objects
from ..structures.objects import Objects
from ..structures.tiles import OVERLAP, Tile, check_tiling, tile_rows
from .arguments import check_range, check_task, task_of
from .classes import find_classes
from .exported import open_file
from .opening import Opened, choose_device, open_model
from .pairs import with_partners
from .preparing import Preparation
from .results import Classification, Detections, Result, Segmentation
from .saliency import Saliency
from .sources import Frame, Source, UnreadableImage, find_sources, read_frames
from .tiles import merge_logits

Input = str | Path | int | Source
"""What one can be, an int for a camera."""
Image = str | Path | np.ndarray | tuple[str | Path, str | Path]
"""One image, or the two files of a pair."""
TILE = 1024
SCORE_THR = 0.3
TOP_K = 5


class Predictor:
    """A trained model: `Predictor("work_dirs/demo")("photo.jpg").save("found.jpg")`.

    Args:
        model: a run's folder, a checkpoint in it, a config by path or name, or an exported file.
        checkpoint: file or URL; found by itself for a run and for a config whose authors published
            weights.
        device: "cuda" where there is one that the model can run on, if None.
        cfg_options: settings that replace the config's, by dotted key.
        imgsz: size of images: a side, or height and width; that of the config if None.
        score_thr: objects of a detector below this score are left out (0.3).
        top_k: how many classes a classifier names, the surest first (5).
        tile: images that are larger go through the model in tiles of this many pixels a side; None
            never does.
        overlap: of neighbouring tiles, as a share of their side; objects up to this size are seen
            whole in one.
        batch_size: images or tiles that go through the model at a time.
        precision: of the network: "auto" (half where the device is fast in it, as the log says),
            "float32", "float16" or "bfloat16". In half precision batch norms are folded into
            convolutions.
        graphs: "off", "auto", or the number of sizes of batches that are replayed as CUDA graphs on
            a GPU.

    Raises:
        UsageError: no such model, no weights, no such device, a value out of range, or one that the
            device cannot do.
        CheckpointError: the weights cannot be had, or do not fit.
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None = None,
        *,
        device: str | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        imgsz: int | str | tuple[int, int] | None = None,
        score_thr: float | None = None,
        top_k: int | None = None,
        tile: int | None = None,
        overlap: float = OVERLAP,
        batch_size: int = 1,
        precision: str = "auto",
        graphs: int | str = "auto",
    ) -> None:
        # Before the model is opened, which takes seconds.
        check_range("score_thr", score_thr, score_thr is None or 0 <= score_thr <= 1, "from 0 to 1")
        check_range("top_k", top_k, top_k is None or top_k >= 1, "of 1 or more")
        check_tiling(tile, overlap)
        check_range("batch_size", batch_size, batch_size >= 1, "of 1 or more")
        self.score_thr = SCORE_THR if score_thr is None else score_thr
        self.top_k = TOP_K if top_k is None else top_k
        self.tile, self.overlap = tile, overlap
        self.batch_size = batch_size
        if format_of(model) is not None:
            opened = open_file(
                model,
                device,
                imgsz,
                checkpoint=checkpoint,
                cfg_options=cfg_options,
                precision=None if precision == "auto" else precision,
                graphs=None if graphs == "auto" else graphs,
            )
            self.model, self._step = opened.model, None
        else:
            opened = self._open_network(
                model, checkpoint, device, cfg_options, imgsz, precision, graphs
            )
        self.config, self.checkpoint = opened.config, opened.checkpoint
        self.task = task_of(self.model)
        check_task(self.task, score_thr, top_k, tile)
        self.classes = find_classes(self.model, opened.cfg, opened.meta)
        self._channels = image_channels(self.model)
        self._preparation = Preparation.of_config(opened.cfg, opened.config)
        self.seconds = 0.0
        """That predictions took in all, without reading and drawing images."""

    def _open_network(
        self,
        model: str | Path,
        checkpoint: str | Path | None,
        device: str | None,
        cfg_options: Mapping[str, Any] | None,
        imgsz: int | str | tuple[int, int] | None,
        precision: str,
        graphs: int | str,
    ) -> Opened:
        """Have PyTorch run a network, as fast as the device can."""
        # Before the model is opened, which takes seconds.
        target = choose_device(device)
        check_graphs(graphs, target)
        choose_precision(precision, target)
        opened = open_model(model, checkpoint, device, cfg_options, imgsz)
        chosen = choose_precision(precision, target, opened.cfg)
        self.model = fuse(opened.model) if chosen.is_half else opened.model
        if target.type == "cuda":
            graph_model(self.model, graphs)
        self._step = predict_in(self.model, chosen)
        return opened

    def __call__(self, image: Image) -> Result:
        """Predict one image: a path, a URL, or an array as the config's loader reads it.

        By default that is (H, W, 3) of blue, green, red in 0 … 255. A model that takes pairs is
        given a tuple of two paths, or (H, W, 3 + n) of red, green, blue and the second image.

        Raises:
            UnreadableImage: it cannot be read.
        """
        return self.predict([image])[0]

    def predict(self, images: Sequence[Image]) -> list[Result]:
        """Predict several images of any sizes, each as if it stood alone."""
        loaded = [image if isinstance(image, np.ndarray) else self.read(image) for image in images]
        started = perf_counter()
        try:
            results = self._predict(loaded)
        except torch.cuda.OutOfMemoryError as error:
            height, width = max((image.shape[:2] for image in loaded), key=math.prod)
            raise UsageError(
                f"the GPU has too little memory for images of {width} x {height} pixels, "
                f"{self.batch_size} at a time; try a smaller batch_size (--batch-size) or "
                f"{'a smaller tile' if self.tile else 'tile'} (--tile)"
            ) from error
        self.seconds += perf_counter() - started
        for image, result in zip(images, results):
            if not isinstance(image, np.ndarray):
                result.path = str(image[0] if isinstance(image, tuple) else image)
        return results

    def stream(
        self,
        inputs: Input | Sequence[Input],
        *,
        every: int = 1,
        frames: int | None = None,
        second: str | Path | None = None,
        unreadable: Callable[[UnreadableImage], object] | None = None,
    ) -> Iterator[tuple[Frame, Result]]:
        """Predict images, videos, cameras and streams one after the other, holding none of them.

        `for frame, found in model.stream("clip.mp4"): print(frame.seconds, found.names)`

        Args:
            inputs: paths, folders, patterns, addresses or numbers of cameras, or what
                `find_sources` found.
            every: of videos, each so many-th frame. Of a camera it is always the newest.
            frames: of a video or a camera after which it is left; None takes all.
            second: of models that take pairs, the folder of the second images, or one file.
            unreadable: called with what cannot be read, which is then left out.

        Raises:
            UsageError: an input names nothing.
            UnreadableImage: one cannot be read, and `unreadable` is None.
        """
        check_range("every", every, every >= 1, "of 1 or more")
        check_range("frames", frames, frames is None or frames >= 1, "of 1 or more")
        given = [inputs] if isinstance(inputs, (str, Path, int, Source)) else list(inputs)
        found = given
        if not all(isinstance(one, Source) for one in given):
            found = find_sources(given)
        places = [one.place if isinstance(one, Source) else one for one in given]
        found = self.paired(found, places, second)
        return self._stream(found, every, frames, unreadable)

    def _stream(
        self,
        sources: Sequence[Source],
        every: int,
        most: int | None,
        unreadable: Callable[[UnreadableImage], object] | None,
    ) -> Iterator[tuple[Frame, Result]]:
        # One stream of frames over all sources: batches are filled across files.
        frames = self._frames(sources, every, most, unreadable)
        while batch := list(islice(frames, self.batch_size)):
            for frame, result in zip(batch, self.predict([frame.image for frame in batch])):
                result.path = frame.source.name
                yield frame, result

    def _frames(
        self,
        sources: Sequence[Source],
        every: int,
        most: int | None,
        unreadable: Callable[[UnreadableImage], object] | None,
    ) -> Iterator[Frame]:
        for source in sources:
            try:
                yield from read_frames(source, self.read, every, most)
            # The frames before the fault were given out already and keep their results.
            except UnreadableImage as error:
                if unreadable is None:
                    raise
                unreadable(error)

    def _predict(self, loaded: Sequence[np.ndarray]) -> list[Any]:
        results: list[Any] = [None] * len(loaded)
        whole = [index for index, image in enumerate(loaded) if not self._needs_tiles(image)]
        for index, sample in zip(whole, self._forward([loaded[index] for index in whole])):
            results[index] = self._result(loaded[index], sample)
        for index, image in enumerate(loaded):
            # What did not go through the model whole.
            if results[index] is None:
                results[index] = self._predict_in_tiles(image)
        return results

    @property
    def precision(self) -> str:
        """What the network predicts in: "float32", "float16", "bfloat16", of files also "int8"."""
        # What a file computes in was decided when it was exported.
        return self._step.precision.name if self._step else self.model.metadata.precision

    @property
    def runs_on(self) -> str:
        """The device of the network, or the runtime of an exported file."""
        return str(next(self.model.parameters()).device) if self._step else self.model.runtime.name

    def paired(
        self, sources: Sequence[Source], inputs: Sequence[Any], second: str | Path | None
    ) -> list[Source]:
        """Sources as the model takes them: each with its second image where it takes pairs.

        Args:
            inputs: what the sources were found by.
            second: folder of the second images, or one file.

        Raises:
            UsageError: a second image is missing, or there is one too many.
        """
        found = list(sources)
        if second is not None:
            found = with_partners(found, inputs, second, self._preparation.names)
        for source in found:
            self._preparation.check_pair(source.name, source.second)
        return found

    def read(self, path: str | Path | tuple[str | Path, str | Path]) -> np.ndarray:
        """An image as the config's own loader reads it, from a path or a URL, or from two of them.

        By default that is (H, W, 3) in 8 bits, turned as EXIF says, grey as three channels.

        Raises:
            UnreadableImage: it cannot be read.
            UsageError: the model takes pairs and this is none, or the other way round.
        """
        return self._preparation.read(*(path if isinstance(path, tuple) else (path,)))

    def _needs_tiles(self, image: np.ndarray) -> bool:
        return self.tile is not None and max(image.shape[:2]) > self.tile

    def _predict_in_tiles(self, image: np.ndarray) -> Detections | Segmentation:
        height, width = image.shape[:2]
        overlap = round(self.overlap * self.tile)
        rows = tile_rows(height, width, self.tile, overlap)
        tiles = list(chain.from_iterable(rows))
        samples = self._forward_tiles(image, tiles)
        if self.task == "detection":
            found = [self._objects(sample) for sample in samples]
            merged = merge_objects(tiles, found, height, width)
            return Detections(self._shown(image), merged, self.classes)
        # One tile's at a time: those of all tiles of a large image would not fit into memory.
        logits = (_logits(sample, len(self.classes.names)) for sample in samples)
        # Only heads with one channel compare with it.
        threshold = getattr(self.model.decode_head, "threshold", None)
        labels = merge_logits(rows, logits, height, width, overlap, threshold)
        return self._segmentation(image, labels)

    def _forward_tiles(self, image: np.ndarray, tiles: Sequence[Tile]) -> Iterator[Any]:
        for start in range(0, len(tiles), self.batch_size):
            parts = [tile.of(image) for tile in tiles[start : start + self.batch_size]]
            yield from self._forward(parts)

    @torch.no_grad()
    def _forward(self, images: Sequence[np.ndarray]) -> list[Any]:
        """What the model says of each image.

        Only images of one size share a batch: padding would change results.
        """
        packed = [self._pack(image, index) for index, image in enumerate(images)]
        # Images of different sizes may become equal when resized, and must be scaled back apart.
        alike = defaultdict(list)
        for index, (image, data) in enumerate(zip(images, packed)):
            alike[tuple(data["inputs"].shape), image.shape[:2]].append(index)
        samples: list[Any] = [None] * len(images)
        for indices in alike.values():
            for start in range(0, len(indices), self.batch_size):
                batch = indices[start : start + self.batch_size]
                found = self.model.test_step(pseudo_collate([packed[index] for index in batch]))
                for index, sample in zip(batch, found):
                    samples[index] = sample
        return samples

    def _pack(self, image: np.ndarray, index: int) -> dict[str, Any]:
        packed = self._preparation.pack(image, index)
        channels = packed["inputs"].shape[0]
        if channels != (self._channels or channels):
            raise UsageError(
                f"an image has {channels} channels and {self.config} takes {self._channels}: "
                "color_type of LoadImageFromFile decides what is read of a file (docs/channels.md)"
            )
        return packed

    def _result(self, image: np.ndarray, sample: Any) -> Result:
        if self.task == "classification":
            scores = sample.pred_score.float().cpu().numpy()
            return Classification(self._shown(image), scores, self.classes, self.top_k)
        if self.task == "detection":
            return Detections(self._shown(image), self._objects(sample), self.classes)
        if self.task == "saliency":
            map_HW = sample.pred_saliency.data[0].float().cpu().numpy()
            return Saliency(self._shown(image), map_HW)
        labels = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.int32)
        return self._segmentation(image, labels)

    def _segmentation(self, image: np.ndarray, labels: np.ndarray) -> Segmentation:
        second = self._preparation.shown_second(image)
        return Segmentation(self._shown(image), labels, self.classes, second=second)

    def _shown(self, image: np.ndarray) -> np.ndarray:
        return self._preparation.shown(image)

    def _objects(self, sample: Any) -> Objects:
        found = sample.pred_instances
        # Selected on the device: masks of weak objects are never copied.
        found = found[found.scores >= self.score_thr].cpu()
        found = found[found.scores.argsort(descending=True)]
        boxes = getattr(found.bboxes, "tensor", found.bboxes)
        masks = [_encode(mask) for mask in found.masks] if "masks" in found else None
        scores = found.scores.float().numpy()
        return Objects(boxes.float().numpy(), scores, found.labels.numpy(), masks)


def _encode(mask_HW: torch.Tensor) -> dict[str, Any]:
    """A mask's run lengths."""
    return coco_mask.encode(np.asfortranarray(mask_HW.numpy().astype(np.uint8)))


def _logits(sample: Any, classes: int) -> np.ndarray:
    """Logits (C, H, W); of a label map, which is all that some files give, a vote a pixel."""
    if "seg_logits" in sample:
        return sample.seg_logits.data.float().cpu().numpy()
    votes_HWC = torch.nn.functional.one_hot(sample.pred_sem_seg.data[0].long(), classes)
    return votes_HWC.permute(2, 0, 1).float().cpu().numpy()
