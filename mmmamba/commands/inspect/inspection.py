"""The pictures of a trained model and one image: what `mmmamba inspect` draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from ...checkpoints import read_checkpoint
from ...config.open import open_config
from ...engine.reliability import load_whole
from ...errors import UsageError
from ...inference.classes import find_classes
from ...inference.opening import (
    Opened,
    choose_device,
    find_files,
    model_settings,
    open_model,
)
from ...layers import Unordered
from ...models.classifiers import is_classifier
from ...suggest import did_you_mean
from ...visualization.feature_maps import draw_feature_maps, feature_maps
from ...visualization.grad_cam import (
    GradCam,
    classification_cam,
    detection_cam,
    draw_grad_cam,
    segmentation_cam,
)
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
from ..untrained import build_untrained
from .map_giving import giving_maps
from .subject import Subject, prepare, read_subject

NAMED = 10
"""Classes that a message lists."""
RANDOM, TRAINED = "random weights", "trained"


@dataclass(frozen=True)
class Recorded:
    """Where the scans of a model go, or why that is not known."""

    scans: list[Scan]
    missing: str = ""
    """Why there are no scans; empty if there are."""


class Inspection:
    """Each method draws one picture, saves it and returns a line on what it shows.

    Raises (every method):
        UsageError: what was asked for is not there.
    """

    def __init__(self, opened: Opened, image: str | PathLike):
        self.opened, self.model, self.cfg = opened, opened.model, opened.cfg
        self.subject: Subject = read_subject(self.model, self.cfg, image)
        # One forward pass serves `scan`, `attention` and the question which pictures there are.
        self._recorded: Recorded | None = None

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
        """An inspection of a model by what a user calls it, or with random weights.

        `inference.open_model` says what that may be.

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
        model_settings(cfg, config)
        return cls(Opened(build_untrained(cfg, choose_device(device)), cfg, config, "", {}), image)

    @property
    def trained(self) -> bool:
        """Whether there are weights."""
        return bool(self.opened.checkpoint)

    def left_out(self) -> dict[str, str]:
        """Pictures that this model cannot have, and why."""
        reasons = {}
        if self._scans().missing:
            reasons |= dict.fromkeys(("scan", "attention"), self._scans().missing)
        if not self.trained:
            reasons["cam"] = "an untrained model finds nothing"
        return reasons

    def scan(self, path: str | PathLike, stage: int | None = None, block: int | None = None) -> str:
        """How the scan of a stage and block, by default the last of all, walks the map."""
        scan = self._known_scans()[-1]
        if stage is not None or block is not None:
            scan = self._choose(stage, block)
        with _told():
            draw_scan_path(scan, self.subject.picture, path)
        return f"{scan.name}, {scan.height}x{scan.width} cells, routes {', '.join(scan.routes)}"

    def attention(
        self,
        path: str | PathLike,
        stage: int | None = None,
        block: int | None = None,
        pixel: Sequence[float] | None = None,
    ) -> str:
        """The implicit attention of the cell that holds a pixel of the image file.

        Args:
            pixel: x and y, by default the image's centre.
        """
        picture = self.subject.picture
        H, W = picture.image_HW3.shape[:2]
        x, y = (W / 2, H / 2) if pixel is None else self.subject.from_file(*pixel)
        name = self._choose(stage, block).name
        with _told():
            # Once more, with the tensors of this scan alone: those of all would fill the memory.
            again = record_scans(self.model.backbone, self.subject.inputs, [name])
            # A mixer that is called more than once has several scans of one name: the last one.
            scan = [one for one in again if one.name == name][-1]
            row, column = picture.cell(x, y, scan.height, scan.width)
            draw_implicit_attention(implicit_attention(scan, row, column), picture, path)
        return f"{name}, cell {row}, {column} of {scan.height}x{scan.width}"

    def features(self, path: str | PathLike) -> str:
        """The backbone's maps."""
        backbone = giving_maps(self.model.backbone, self.cfg.model.backbone)
        with _told():
            maps = feature_maps(backbone, self.subject.inputs, before_norm=True)
        numbers = getattr(backbone, "out_indices", range(len(maps)))
        named = {f"stage {number}": map_HWC for number, map_HWC in zip(numbers, maps)}
        with _told():
            draw_feature_maps(named, self.subject.picture, path)
        channels = ", ".join(str(map_HWC.shape[2]) for map_HWC in maps)
        return f"{len(maps)} maps of {channels} channels"

    def cam(
        self,
        path: str | PathLike,
        detection: int = 0,
        label: str | None = None,
        part: str | None = None,
    ) -> str:
        """Grad-CAM of a detection, or of a class of a segmentor or classifier.

        Args:
            detection: counted from the highest score.
            label: the name of the class.
            part: whose maps are weighed, by default a detector's or segmentor's neck's, if there is
                one, else the backbone's.
        """
        names = find_classes(self.model, self.cfg, self.opened.meta).names
        index = None if label is None else _index(label, names)
        if part is None:
            # That of a classifier makes vectors of maps.
            has_neck = getattr(self.model, "with_neck", False) and not is_classifier(self.model)
            part = "neck" if has_neck else "backbone"
        with _told():
            found = self._cam(detection, index, part)
        draw_grad_cam(found, self.subject.picture, names[found.label], path)
        seen = found.region_HW is not None
        amount = f"{found.score:.0%} of the pixels" if seen else f"score {found.score:.3f}"
        return f"{names[found.label]}, {amount}, maps of the {part}"

    def _cam(self, detection: int, label: int | None, part: str) -> GradCam:
        inputs, sample = self.subject.inputs, self.subject.sample
        if is_classifier(self.model):
            return classification_cam(self.model, inputs, label, part)
        # mmseg's segmentors have it, mmdet's detectors do not.
        if hasattr(self.model, "encode_decode"):
            return segmentation_cam(self.model, inputs, sample, label, part)
        return detection_cam(self.model, inputs, sample, detection, label, part)

    def erf(
        self,
        path: str | PathLike,
        size: int = 512,
        crops: int = 4,
        beside: Mapping[str, str | None] | None = None,
    ) -> str:
        """Effective receptive field of the backbone's last map, with random weights and trained.

        Args:
            size, crops: side and number of the random crops of the image that it is averaged over.
            beside: torchvision's classifiers by name, with a file of weights or None for random
                ones only.
        """
        if size < 32 or crops < 1:
            raise UsageError(
                f"--crops {crops} of --size {size} pixels: wanted at least one, of 32 or more"
            )
        device = self.subject.inputs.device
        others: dict[str, Callable[[Tensor], Tensor]] = {}
        for name, weights in (beside or {}).items():
            others |= _classifiers(name, weights, device)
        models = self._own_backbones(device) | others
        images = prepare(self.model, random_crops(self.subject.file_CHW, size, crops))
        with _told():
            fields = {
                title: effective_receptive_field(model, images) for title, model in models.items()
            }
        draw_receptive_fields(fields, path)
        shares = []
        for title, field in fields.items():
            shares.append(f"{contribution_shares(field)[0.95]:.1%} of the pixels ({title})")
        return f"95 % of the contribution in {', '.join(shares)}"

    def _own_backbones(self, device: torch.device) -> dict[str, nn.Module]:
        """The model's backbone before and, if it is, after training, by title."""
        # The network of the config anew: the opened one has its trained weights.
        fresh = build_untrained(self.cfg, device).backbone
        settings = self.cfg.model.backbone
        # Published variants have names; a custom one is called by its class.
        arch = settings.get("arch")
        name = arch if isinstance(arch, str) else type(fresh).__name__
        models = {f"{name}, {RANDOM}": giving_maps(fresh, settings)}
        if self.trained:
            models[f"{name}, {TRAINED}"] = giving_maps(self.model.backbone, settings)
        return models

    def _scans(self) -> Recorded:
        """Where the backbone's scans go; looked at once."""
        if self._recorded is None:
            self._recorded = _record(self.model.backbone, self.subject.inputs)
        return self._recorded

    def _known_scans(self) -> list[Scan]:
        if self._scans().missing:
            raise UsageError(self._scans().missing)
        return self._scans().scans

    def _choose(self, stage: int | None, block: int | None) -> Scan:
        with _told():
            # Map and image are compared at the size that the network sees.
            size = tuple(self.subject.inputs.shape[2:])
            return choose_scan(self._known_scans(), size, stage, block)


def _record(backbone: nn.Module, inputs: Tensor) -> Recorded:
    name = type(backbone).__name__
    try:
        # Without keeping tensors: at this point only the way of the scans is asked for.
        scans = record_scans(backbone, inputs, [])
    except TypeError as error:
        # A backbone that runs by itself has scans whose mixers do not tell where they go; the
        # error says which and how they would. One that does not run raises here once more.
        with torch.no_grad():
            backbone(inputs)
        return Recorded([], f"the scans of {name} are not known: {error}")
    return Recorded(scans, "" if scans else _no_scan(backbone))


def _no_scan(backbone: nn.Module) -> str:
    name = type(backbone).__name__
    kinds = {type(m).__name__ for m in backbone.modules() if isinstance(m, Unordered)}
    if not kinds:
        return f"{name} has no selective scan"
    return (
        f"{name} has no order in which it visits a map: its mixers ({', '.join(sorted(kinds))}) "
        "read all cells at once. Its receptive field shows what they reach: --what erf"
    )


def _index(label: str, names: Sequence[str]) -> int:
    """The class of a name."""
    if label in names:
        return names.index(label)
    more = ", …" if len(names) > NAMED else ""
    raise UsageError(
        f"there is no class {label!r}.{did_you_mean(label, names, 3)} The model knows "
        f"{', '.join(names[:NAMED])}{more}"
    )


def _classifiers(
    name: str, weights: str | None, device: torch.device
) -> dict[str, Callable[[Tensor], Tensor]]:
    """What gives the last map of a classifier of torchvision, before and after training."""
    models = {f"{name}, {RANDOM}": _last_map(_classifier(name), device)}
    if weights is not None:
        trained = _classifier(name)
        load_whole(trained, read_checkpoint(weights))
        models[f"{name}, {TRAINED}"] = _last_map(trained, device)
    return models


def _last_map(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    with _told():
        return last_map(model.to(device))


def _classifier(name: str) -> nn.Module:
    """A classifier of torchvision with random weights, the same each time."""
    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise UsageError(f"torchvision has no classifier {name!r}.{did_you_mean(name, known, 3)}")
    # The caller's random numbers on the CPU, where weights are drawn, go on as before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.get_model(name, weights=None).eval()


@contextmanager
def _told() -> Iterator[None]:
    """What the library finds wrong with a request is the user's input."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error
