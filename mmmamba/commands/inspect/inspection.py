"""The pictures of a trained detector or segmentor and one image: what `mmmamba inspect` draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torchvision
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ...checkpoints import read_checkpoint
from ...config.open import open_config
from ...engine.reliability import load_whole
from ...errors import UsageError
from ...inference.classes import find_classes
from ...inference.opening import Opened, choose_device, find_files, open_model
from ...suggest import did_you_mean
from ...visualization.feature_maps import draw_feature_maps, feature_maps
from ...visualization.grad_cam import detection_cam, draw_grad_cam, segmentation_cam
from ...visualization.implicit_attention import draw_implicit_attention, implicit_attention
from ...visualization.receptive_field import (
    contribution_shares,
    draw_receptive_fields,
    effective_receptive_field,
    last_map,
    random_crops,
)
from ...visualization.scan_path import draw_scan_path
from ...visualization.scans import Scan, choose_scan, record_scans
from .subject import Subject, prepare, read_subject


class Inspection:
    """Each method draws one picture, saves it and returns a line on what it shows.

    Raises (every method):
        UsageError: what was asked for is not there.
    """

    def __init__(self, opened: Opened, image: str | PathLike):
        self.opened, self.model, self.cfg = opened, opened.model, opened.cfg
        self.subject: Subject = read_subject(self.model, self.cfg, image)
        self._where: list[Scan] | None = None

    @classmethod
    def open(
        cls,
        model: str | Path,
        image: str | PathLike,
        checkpoint: str | None = None,
        untrained: bool = False,
        device: str | None = None,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> Inspection:
        """Of a model by what a user calls it (`inference.open_model`), or with random weights.

        Raises:
            UsageError: no such model, image or device, or no weights.
            CheckpointError: weights that do not fit.
        """
        if not untrained:
            return cls(open_model(model, checkpoint, device, cfg_options), image)
        if checkpoint is not None:
            raise UsageError(
                f"--checkpoint {checkpoint} and --untrained exclude each other; leave one out"
            )
        config = find_files(model)[0]
        cfg = open_config(config, cfg_options)
        return cls(Opened(build_untrained(cfg, choose_device(device)), cfg, config, "", {}), image)

    @property
    def trained(self) -> bool:
        return bool(self.opened.checkpoint)

    def left_out(self) -> dict[str, str]:
        """Pictures that this model cannot have, and why."""
        reasons = {}
        if not self._scans():
            name = type(self.model.backbone).__name__
            reasons |= dict.fromkeys(("scan", "attention"), f"{name} has no selective scan")
        if not self.trained:
            reasons["cam"] = "an untrained model finds nothing"
        return reasons

    def scan(self, path: str | PathLike, stage: int | None = None, block: int | None = None) -> str:
        """How the scan of a stage and block, by default the last of all, walks the map."""
        scans = self._scans()
        with _told():
            scan = (
                scans[-1]
                if (stage, block) == (None, None) and scans
                else self._choose(stage, block)
            )
            draw_scan_path(scan, self.subject.picture, path)
        return f"{scan.name}, {scan.height}x{scan.width} cells, routes {', '.join(scan.routes)}"

    def attention(
        self,
        path: str | PathLike,
        stage: int | None = None,
        block: int | None = None,
        pixel: Sequence[float] | None = None,
    ) -> str:
        """The implicit attention of the cell that holds a pixel of the image file, by default the image's centre."""
        picture = self.subject.picture
        H, W = picture.image_HW3.shape[:2]
        x, y = (W / 2, H / 2) if pixel is None else self.subject.from_file(*pixel)
        with _told():
            name = self._choose(stage, block).name
            scan = [
                s
                for s in record_scans(self.model.backbone, self.subject.inputs, [name])
                if s.name == name
            ][-1]
            row, column = picture.cell(x, y, scan.height, scan.width)
            draw_implicit_attention(implicit_attention(scan, row, column), picture, path)
        return f"{name}, cell {row}, {column} of {scan.height}x{scan.width}"

    def features(self, path: str | PathLike) -> str:
        """The backbone's maps."""
        backbone = self.model.backbone
        maps = feature_maps(backbone, self.subject.inputs, before_norm=True)
        numbers = getattr(backbone, "out_indices", range(len(maps)))
        with _told():
            draw_feature_maps(
                {f"stage {i}": map_HWC for i, map_HWC in zip(numbers, maps)},
                self.subject.picture,
                path,
            )
        return (
            f"{len(maps)} maps of {', '.join(str(map_HWC.shape[2]) for map_HWC in maps)} channels"
        )

    def cam(
        self,
        path: str | PathLike,
        detection: int = 0,
        label: str | None = None,
        part: str | None = None,
    ) -> str:
        """Grad-CAM of a detection, or of a class of a segmentor."""
        names = find_classes(self.model, self.cfg, self.opened.meta).names
        if label is not None and label not in names:
            raise UsageError(
                f"there is no class {label!r}.{did_you_mean(label, names, 3)} The model knows "
                + ", ".join(names[:10])
                + (", …" if len(names) > 10 else "")
            )
        index = None if label is None else names.index(label)
        segments = hasattr(self.model, "encode_decode")
        part = part or ("neck" if getattr(self.model, "with_neck", False) else "backbone")
        with _told():
            if segments:
                found = segmentation_cam(
                    self.model, self.subject.inputs, self.subject.sample, index, part
                )
            else:
                found = detection_cam(
                    self.model, self.subject.inputs, self.subject.sample, detection, index, part
                )
        draw_grad_cam(found, self.subject.picture, names[found.label], path)
        return (
            f"{names[found.label]}, {found.score:.0%} of the pixels, maps of the {part}"
            if segments
            else f"{names[found.label]}, score {found.score:.3f}, maps of the {part}"
        )

    def erf(
        self,
        path: str | PathLike,
        size: int = 512,
        crops: int = 4,
        beside: Mapping[str, str | None] | None = None,
    ) -> str:
        """Effective receptive field of the backbone's last map with random weights and trained, and of classifiers.

        Args:
            size, crops: side and number of the random crops of the image that it is averaged over.
            beside: torchvision's classifiers by name, with a file of weights or None for random ones only.
        """
        if size < 32 or crops < 1:
            raise UsageError(
                f"--crops {crops} of --size {size} pixels: wanted at least one, of 32 or more"
            )
        others = {
            name: (_classifier(name), weights and _classifier(name, weights))
            for name, weights in (beside or {}).items()
        }
        images = prepare(self.model, random_crops(self.subject.file_3HW, size, crops))
        fresh = build_untrained(self.cfg, images.device).backbone
        arch = self.cfg.model.backbone.get("arch")
        name = arch if isinstance(arch, str) else type(fresh).__name__
        pairs = {name: (fresh, self.model.backbone if self.trained else None)}
        with _told():
            pairs |= {
                name: [model and last_map(model.to(images.device)) for model in pair]
                for name, pair in others.items()
            }
            fields = {
                f"{name}, {state}": effective_receptive_field(model, images)
                for name, pair in pairs.items()
                for model, state in zip(pair, ("random weights", "trained"))
                if model is not None
            }
        draw_receptive_fields(fields, path)
        return "95 % of the contribution in " + ", ".join(
            f"{contribution_shares(field)[0.95]:.1%} of the pixels ({title})"
            for title, field in fields.items()
        )

    def _scans(self) -> list[Scan]:
        if self._where is None:
            self._where = record_scans(self.model.backbone, self.subject.inputs, [])
        return self._where

    def _choose(self, stage: int | None, block: int | None) -> Scan:
        if not self._scans():
            raise ValueError(self.left_out()["scan"])
        return choose_scan(self._scans(), tuple(self.subject.inputs.shape[2:]), stage, block)


def build_untrained(cfg: Any, device: torch.device) -> nn.Module:
    """The network of a config as training from scratch begins, in evaluation mode; the same each time."""
    settings = deepcopy(cfg.model)
    settings.backbone.init_cfg = None
    with (
        DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        network = revert_sync_batchnorm(MODELS.build(settings))
        with _quiet():
            network.init_weights()
    return network.to(device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """MMEngine tells of every parameter how it was initialised."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _classifier(name: str, weights: str | None = None) -> nn.Module:
    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise UsageError(f"torchvision has no classifier {name!r}.{did_you_mean(name, known, 3)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None)
    if weights is not None:
        load_whole(model, read_checkpoint(weights))
    return model.eval()


@contextmanager
def _told() -> Iterator[None]:
    """What the library finds wrong with a request is the user's input."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error
