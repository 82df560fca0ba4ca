"""Draws while a model trains, on the main process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmcv
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.visualization import LocalVisBackend

from ...datasets.nodes import loads_pairs
from ...errors import UsageError
from ...evaluation.classification import ImageConfusion, count_confusion
from ...evaluation.coco_results import (
    detection_confusion,
    find_coco_metric,
    keep_results,
    precisions,
)
from ...evaluation.matching import IOU
from ...evaluation.saliency import SaliencyMetric
from ...evaluation.segmentation import PixelConfusion
from ...structures.classes import Classes
from ...visualization.charts.confusion import NOTHING, draw_confusion
from ...visualization.charts.curves import draw_curves
from ...visualization.charts.ious import draw_ious
from ...visualization.charts.precision_recall import draw_precision_recall
from ...visualization.sheets.batches import Preprocessed, draw_batch
from ...visualization.sheets.validation import ValidationSheet
from ..bare_model import bare_model

EVERY = 300.0
"""Seconds between curves while no validation comes."""
IGNORE_INDEX = 255
"""Label of pixels that do not count, where no metric says another; mmseg's default."""


def add_pictures(cfg: Config, off: bool = False) -> None:
    """Have any config leave pictures, but one whose `default_hooks.pictures` is None.

    Args:
        off: leave none whatever the config says.
    """
    if cfg.get("default_hooks") is None:
        cfg.default_hooks = {}
    hook = cfg.default_hooks.pop("pictures", {})
    if hook is not None and not off:
        # --cfg-options default_hooks.pictures.images=16 names no type.
        cfg.default_hooks.pictures = {"type": "PicturesHook", **hook}


@HOOKS.register_module()
class PicturesHook(Hook):
    """Leaves pictures of a run in `work_dir/pictures`.

    Args:
        batches: iterations whose batch is drawn, counted from 0. Later ones show mosaics of many
            images: their caches are empty when a run begins. The first batch behind a switch of
            pipelines (mmdet's `PipelineSwitchHook`, `YOLOXModeSwitchHook`) is drawn, too.
        images: images of each validation that are drawn.
        score_thr: detections with lower scores are left out of pictures and of the confusion
            matrix.
    """

    # Behind the log, which writes what the curves show, and behind hooks that end training early.
    priority = "LOWEST"

    def __init__(
        self, batches: Sequence[int] = (0, 10, 100), images: int = 8, score_thr: float = 0.3
    ) -> None:
        if isinstance(batches, int):
            raise UsageError(
                f"PicturesHook(batches={batches}): wanted a list of the iterations whose batch is "
                "drawn, such as [0, 10, 100]"
            )
        self.batches, self.images, self.score_thr = {*batches}, images, score_thr
        self.sheet: ValidationSheet | None = None
        self.metric: Any = None
        self.results: list | None = None
        self.pixels: PixelConfusion | None = None
        self.classified: ImageConfusion | None = None

    def before_train(self, runner: Runner) -> None:
        self.folder = Path(runner.work_dir, "pictures")
        self.drawn, self.drawn_at = time.monotonic(), -1
        self.batches |= _switches(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter not in self.batches or not is_main_process():
            return
        # Normalised, padded and resized at random: what comes out is what the network sees.
        preprocessor = bare_model(runner.model).data_preprocessor

        def draw(module: Any, given: Any, batch: Any) -> None:
            handle.remove()
            self._draw_batch(runner, batch, preprocessor)

        handle = preprocessor.register_forward_hook(draw)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if is_main_process() and time.monotonic() - self.drawn > EVERY:
            self._draw_curves(runner)

    def before_val(self, runner: Runner) -> None:
        evaluator = runner.val_loop.evaluator
        # Maps of saliency have no classes to be confused.
        classes = not any(isinstance(metric, SaliencyMetric) for metric in evaluator.metrics)
        if classes and runner.cfg.get("default_scope") == "mmseg" and self.pixels is None:
            # Counted as the config's own metric counts, which sees the maps anyway.
            self.pixels = PixelConfusion(_ignore_index(evaluator.metrics))
            self.pixels.dataset_meta = evaluator.dataset_meta
            evaluator.metrics.append(self.pixels)
        if runner.cfg.get("default_scope") == "mmpretrain" and self.classified is None:
            self.classified = count_confusion(evaluator)
        # CocoMetric forgets its results when it has its numbers; they are kept for the charts.
        if self.metric is None:
            self.metric = find_coco_metric(evaluator.metrics)
            self.results = keep_results(self.metric) if self.metric is not None else None

    def before_val_epoch(self, runner: Runner) -> None:
        classes = _classes(runner.val_dataloader)
        if is_main_process() and classes is not None:
            total = len(runner.val_dataloader) * (runner.val_dataloader.batch_size or 1)
            self.sheet = ValidationSheet(self.images, total, classes, self.score_thr, self.metric)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        if self.sheet is not None:
            with self._writing(runner, "pictures of predictions"):
                self.sheet.add(outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if not is_main_process():
            return
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        name = f"val_epoch_{runner.epoch}.jpg" if by_epoch else f"val_iter_{runner.iter}.jpg"
        if self.sheet is not None:
            with self._writing(runner, name):
                if self.sheet.save(self.folder / name):
                    self._publish(runner, name)
            if _ends(runner):
                self._draw_errors(runner, self.sheet.classes.names)
            self.sheet = None
        self._draw_curves(runner)
        if self.results is not None:
            self.results.clear()

    def after_train(self, runner: Runner) -> None:
        if not is_main_process():
            return
        if self.drawn_at != runner.iter:
            self._draw_curves(runner)
        if self.folder.is_dir():
            runner.logger.info(f"pictures of this run: {self.folder}")

    def _draw_batch(self, runner: Runner, batch: Any, preprocessor: Any) -> None:
        name, classes = f"batch_{runner.iter}.jpg", _classes(runner.train_dataloader)
        settings = runner.cfg.model.get("data_preprocessor") or {}
        exchanged = bool(settings.get("bgr_to_rgb") or settings.get("rgb_to_bgr"))
        exchanged = exchanged or bool(getattr(preprocessor, "to_rgb", False))
        # Pairs are read with red first, other files with blue.
        red_first = exchanged != loads_pairs(runner.cfg.train_dataloader.get("dataset"))
        done = Preprocessed(
            getattr(preprocessor, "mean", None),
            getattr(preprocessor, "std", None),
            red_first,
        )
        with self._writing(runner, name):
            if classes is not None and draw_batch(batch, classes, self.folder / name, done):
                self._publish(runner, name)
            else:
                # Nor will the next batches do.
                self.batches = set()
                runner.logger.info(
                    "no pictures of batches: their data set names no classes, or they are not made "
                    "as mmdet's, mmseg's and mmpretrain's are"
                )

    def _draw_curves(self, runner: Runner) -> None:
        loop = runner.train_loop
        per_epoch = len(runner.train_dataloader) if isinstance(loop, EpochBasedTrainLoop) else None
        with self._writing(runner, "curves.png"):
            if draw_curves(Path(runner.work_dir), self.folder / "curves.png", per_epoch):
                self._publish(runner, "curves.png")
        self.drawn, self.drawn_at = time.monotonic(), runner.iter

    def _draw_errors(self, runner: Runner, names: Sequence[str]) -> None:
        """Where the model errs: precision and recall, classes that it takes for others."""
        with self._writing(runner, "confusion.png"):
            if self.pixels is not None:
                self._draw_pixel_errors(runner, names)
            elif self.classified is not None:
                self._draw_image_errors(runner, names)
            elif self.results:
                self._draw_object_errors(runner, names)
            else:
                runner.logger.info(
                    "no precision-recall curve and no confusion matrix: they are drawn from "
                    "mmdet's CocoMetric with an ann_file, from segmentation or classification"
                )

    def _draw_pixel_errors(self, runner: Runner, names: Sequence[str]) -> None:
        matrix, caption = self.pixels.matrix, "What the pixels of each class were taken for."
        draw_ious(matrix, names, self.folder / "iou.png")
        draw_confusion(matrix, names, self.folder / "confusion.png", "pixels", caption)
        self._publish(runner, "iou.png", "confusion.png")

    def _draw_image_errors(self, runner: Runner, names: Sequence[str]) -> None:
        caption = "What the images of each class were taken for."
        matrix = self.classified.matrix
        draw_confusion(matrix, names, self.folder / "confusion.png", "images", caption)
        self._publish(runner, "confusion.png")

    def _draw_object_errors(self, runner: Runner, names: Sequence[str]) -> None:
        found = precisions(self.metric, self.results)
        if found:
            draw_precision_recall(found, names, self.folder / "pr_curve.png")
            self._publish(runner, "pr_curve.png")
        matrix = detection_confusion(self.metric, self.results, self.score_thr)
        caption = f"Score from {self.score_thr:g}, IoU from {IOU:g}; "
        caption += "last row: found where nothing is."
        names = [*names, NOTHING]
        draw_confusion(matrix, names, self.folder / "confusion.png", "objects", caption)
        self._publish(runner, "confusion.png")

    def _publish(self, runner: Runner, *names: str) -> None:
        """Hand pictures on to TensorBoard and the like.

        MMEngine's own folder is left out: it would hold them twice.
        """
        backends = []
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):
                backends.append(backend)
        if not backends:
            return
        for name in names:
            image = mmcv.imread(str(self.folder / name), channel_order="rgb")
            for backend in backends:
                backend.add_image(f"pictures/{Path(name).stem}", image, runner.iter)

    @contextmanager
    def _writing(self, runner: Runner, what: str):
        """A full disk costs a picture, not the run."""
        try:
            yield
        except OSError as error:
            runner.logger.warning(f"{what} not drawn: {error}")


def _classes(loader: Any) -> Classes | None:
    """The classes of a loader's data set, if it names any."""
    return Classes.from_meta(getattr(loader.dataset, "metainfo", {}))


def _ignore_index(metrics: Sequence[Any]) -> int:
    """The label that the first metric which ignores one ignores."""
    for metric in metrics:
        if getattr(metric, "ignore_index", None) is not None:
            return metric.ignore_index
    return IGNORE_INDEX


def _switches(runner: Runner) -> set[int]:
    """The first iterations of pipelines that mmdet's hooks put in the place of a run's first."""
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        return set()
    epochs = []
    for hook in runner.hooks:
        # By their names, as importing them takes seconds.
        kind = type(hook).__name__
        if kind == "PipelineSwitchHook":
            epochs.append(hook.switch_epoch)
        elif kind == "YOLOXModeSwitchHook":
            epochs.append(runner.max_epochs - hook.num_last_epochs)
    return {epoch * len(runner.train_dataloader) for epoch in epochs}


def _ends(runner: Runner) -> bool:
    """Whether no more training comes after this validation."""
    # The loops count an epoch or iteration before they validate what it made.
    loop = runner.train_loop
    if loop.stop_training:
        return True
    if isinstance(loop, EpochBasedTrainLoop):
        return loop.epoch >= loop.max_epochs
    return loop.iter >= loop.max_iters
