"""Grad-CAM: where a map's channels, weighed by how much a score depends on them, respond.

Selvaraju et al., arXiv 1610.02391, for detections; summed over a region, for a segmentor's class
(Vinogradova et al., arXiv 2002.11434).

The score is taken where the model computes it: that of a detection as prediction returns it.
Gradients go from there through the class branch of its RoI in two-stage detectors, of its point in
dense ones; boxes and the selection of proposals pass none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..models.trunks.base import MambaBackbone
from .panels import colour_bar, panels
from .picture import Picture
from .style import figure_style, percent, save_figure

COLOURS = "turbo"
CLEAR, OPAQUE = 0.3, 0.7
"""How much the colours cover of the image where the heat is 0 and 1."""
PARTS = ("neck", "backbone")


@dataclass(frozen=True)
class GradCam:
    """Heat maps of the network's input, `(H, W)` in [0, 1], and what they are for.

    A class of a classifier has neither a box nor a region.
    """

    heat_HW: Tensor
    """Channels weighed by the mean of their gradients: Grad-CAM."""
    local_HW: Tensor
    """Each position weighed by its own gradients (HiResCAM, arXiv 2011.08891).

    It shows this object, not all of its kind.
    """
    label: int
    score: float
    box: tuple[float, float, float, float] | None = None
    """x1, y1, x2, y2 in the network's input."""
    region_HW: Tensor | None = None
    """The pixels of the class, of a segmentor."""


class Heats(NamedTuple):
    """The two heat maps of `GradCam`."""

    heat_HW: Tensor
    local_HW: Tensor


def detection_cam(
    detector: nn.Module,
    inputs: Tensor,
    sample: Any,
    detection: int = 0,
    label: int | None = None,
    part: str = "neck",
) -> GradCam:
    """Grad-CAM of one detection of an mmdet detector, counted from the highest score.

    Args:
        inputs, sample: as the data preprocessor returns them, for one image.
        label: count only detections of this class.
        part: the module whose maps are weighed, "neck" or "backbone"; heats of several maps are
            added up.

    Raises:
        ValueError: no such part or detection, or a score that no map moves.
    """

    def predict() -> Any:
        # Not rescaled: boxes stay in the pixels of the input, as the heat does.
        return detector.predict(inputs, [sample], rescale=False)[0].pred_instances

    with torch.enable_grad(), _StayInGraph():
        maps, found = _with_maps(detector, part, predict)
        chosen = _chosen(found, detection, label)
        score = found.scores[chosen]
        heats = _weigh(maps, score, inputs.shape[2:])
    box = getattr(found.bboxes, "tensor", found.bboxes)[chosen].tolist()
    return GradCam(*heats, int(found.labels[chosen]), float(score.data), tuple(box))


def _chosen(found: Any, detection: int, label: int | None) -> int:
    """The index of a detection that is counted from the highest score."""
    order = found.scores.argsort(descending=True)
    if label is not None:
        order = order[found.labels[order] == label]
    if not 0 <= detection < len(order):
        kind = "objects" if label is None else f"objects of class {label}"
        raise ValueError(
            f"there is no detection {detection}: the model finds {len(order)} {kind}, "
            "counted from 0"
        )
    return int(order[detection])


def segmentation_cam(
    segmentor: nn.Module,
    inputs: Tensor,
    sample: Any,
    label: int | None = None,
    part: str = "backbone",
) -> GradCam:
    """Grad-CAM of the mean logit of a class over the pixels where an mmseg segmentor sees it.

    Args:
        label: the class, by default the one that covers most.

    Raises:
        ValueError: no such part, a class that the segmentor does not see here, or one that no map
            moves.
    """

    def predict() -> Tensor:
        return segmentor.encode_decode(inputs, [sample.metainfo])[0]

    with torch.enable_grad():
        maps, logits_CHW = _with_maps(segmentor, part, predict)
        if len(logits_CHW) == 1:
            # One channel is a mask: class 1 where the logit is positive.
            logits_CHW = torch.cat([-logits_CHW, logits_CHW])
            seen_HW = (logits_CHW[1] > 0).long()
        else:
            seen_HW = logits_CHW.argmax(0)
        # The class that covers most is what a viewer asks about first.
        if label is None:
            label = int(seen_HW.flatten().mode().values)
        region_HW = seen_HW == label
        if not region_HW.any():
            there = ", ".join(map(str, seen_HW.unique().tolist()))
            raise ValueError(
                f"the segmentor sees class {label} nowhere in this image; it sees {there}"
            )
        heats = _weigh(maps, logits_CHW[label][region_HW].mean(), inputs.shape[2:])
    return GradCam(*heats, label, float(region_HW.float().mean()), region_HW=region_HW.cpu())


def classification_cam(
    classifier: nn.Module, inputs: Tensor, label: int | None = None, part: str = "backbone"
) -> GradCam:
    """Grad-CAM of the logit of a class of an mmpretrain classifier.

    Of a backbone that ends in its own classifier, what that reads is weighed
    (`MambaBackbone.open_classifier`).

    Args:
        label: the class, by default the surest.

    Raises:
        ValueError: no such part, one that gives no maps, or a class that no map moves.
    """
    backbone = getattr(classifier, "backbone", None)
    with torch.enable_grad():
        if isinstance(backbone, MambaBackbone) and backbone.is_classifier and part == "backbone":
            with torch.no_grad():
                map_BCHW, classify = backbone.open_classifier(inputs)
            maps = [map_BCHW.data.requires_grad_()]
            logits_C = classifier.head(classify(maps[0]))[0]
        else:
            maps, logits_BC = _with_maps(classifier, part, lambda: classifier(inputs))
            logits_C = logits_BC[0]
        if label is None:
            label = int(logits_C.argmax())
        heats = _weigh(maps, logits_C[label], inputs.shape[2:])
    return GradCam(*heats, label, float(logits_C.data.softmax(0)[label]))


class _StayInGraph(TorchFunctionMode):
    """`detach` does nothing: mmdet's dense heads detach what they predict from."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return args[0] if func is Tensor.detach else func(*args, **(kwargs or {}))


def _with_maps(model: nn.Module, part: str, run: Callable[[], Any]) -> tuple[list[Tensor], Any]:
    """The maps that leave a part of the model, with gradients, and what `run` returns."""
    module = getattr(model, part, None)
    if not isinstance(module, nn.Module):
        there = [name for name in PARTS if isinstance(getattr(model, name, None), nn.Module)]
        raise ValueError(
            f"{type(model).__name__} has no {part}, of which the maps could be taken; there are "
            + ", ".join(there)
        )
    maps: list[Tensor] = []

    def keep(_: nn.Module, __: tuple, output: Any) -> Any:
        if any(x.dim() != 4 for x in output):
            raise ValueError(f"the {part} {type(module).__name__} gives vectors and no maps")
        # `.data` and not `detach`, which does nothing here.
        # Leaves of their own: gradients end here, and those of frozen backbones begin here.
        taken = [x.data.requires_grad_() for x in output]
        maps.extend(taken)
        return tuple(taken)

    with module.register_forward_hook(keep):
        return maps, run()


def _weigh(maps: list[Tensor], score: Tensor, size: tuple[int, int]) -> Heats:
    """Each map's channels times the score's gradients, at the size of the input."""
    gradients = torch.autograd.grad(score, maps, allow_unused=True)
    heats, local = [], []
    for x_BCHW, gradient_BCHW in zip(maps, gradients):
        # A detection depends on some levels of the neck only.
        if gradient_BCHW is None or not gradient_BCHW.any():
            continue
        # `.data` for the same reason as above.
        x_CHW, gradient_CHW = x_BCHW[0].data, gradient_BCHW[0]
        # Grad-CAM weighs a channel by its mean gradient, HiResCAM each cell by its own.
        heats.append((x_CHW * gradient_CHW.mean((1, 2), keepdim=True)).sum(0).relu())
        local.append((x_CHW * gradient_CHW).sum(0).relu())
    if not heats:
        raise ValueError(
            f"the score {float(score.data):.6f} depends on no map: it is saturated or detached"
        )
    return Heats(_join(heats, size), _join(local, size))


def _join(heats: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Heats of several maps added at the input's size, the largest value 1."""
    # Levels of a pyramid are of different sizes.
    whole = torch.zeros(size, dtype=heats[0].dtype)
    for heat_HW in heats:
        whole += F.interpolate(heat_HW[None, None], size, mode="bilinear")[0, 0].cpu()
    # A map of zeros stays one instead of becoming NaN.
    return whole / whole.max().clamp(min=torch.finfo(whole.dtype).tiny)


@figure_style
def draw_grad_cam(
    cam: GradCam, picture: Picture, name: str, path: str | PathLike | None = None
) -> Figure:
    """The image with the object or region, Grad-CAM and its local form; `name` is the class's."""
    figure, axes = panels(3, picture.aspect)
    seen = cam.region_HW is not None
    amount = f"{percent(cam.score, 0)} of the pixels" if seen else f"score {cam.score:.2f}"
    picture.draw(axes[0], f"{name}, {amount}")
    _draw_heat(axes[1], cam.heat_HW, picture, "Grad-CAM")
    _draw_heat(axes[2], cam.local_HW, picture, "by position (HiResCAM)")
    for axis in axes:
        if cam.box is not None:
            picture.draw_box(axis, cam.box)
        if cam.region_HW is not None:
            picture.draw_region(axis, cam.region_HW)
    colour_bar(figure, axes, Normalize(0, 1), "contribution / largest", COLOURS)
    figure.suptitle("Grad-CAM of a detection" if cam.box else "Grad-CAM of a class")
    return save_figure(figure, path)


def _draw_heat(axes: Axes, heat_HW: Tensor, picture: Picture, title: str) -> None:
    """The image under colours that cover more of it where the heat is."""
    picture.draw(axes)
    alpha_HW = (CLEAR + (OPAQUE - CLEAR) * picture.crop(heat_HW)).numpy()
    picture.draw_map(axes, heat_HW, title, cmap=COLOURS, vmin=0, vmax=1, alpha=alpha_HW)
