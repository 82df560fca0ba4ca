"""Grad-CAM (Selvaraju et al., arXiv 1610.02391): where a map's channels, weighed by how much a score depends on them,
respond. For detections and, summed over a region, for a segmentor's class (Vinogradova et al., arXiv 2002.11434).

The score is taken where the model computes it: that of a detection as prediction returns it. Gradients go from there
through the class branch of its RoI in two-stage detectors, of its point in dense ones; boxes and the selection of
proposals pass none.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .style import Picture, colour_bar, panels, paper_style, save

COLOURS = "turbo"
CLEAR, OPAQUE = 0.3, 0.7
"""How much the colours cover of the image where the heat is 0 and 1."""
PARTS = ("neck", "backbone")


@dataclass(frozen=True)
class GradCam:
    """Heat maps of the network's input, `(H, W)` in [0, 1], and what they are for."""

    heat_HW: Tensor
    """Channels weighed by the mean of their gradients: Grad-CAM."""
    local_HW: Tensor
    """Each position weighed by its own gradients (HiResCAM, arXiv 2011.08891): this object, not all of its kind."""
    label: int
    score: float
    box: tuple[float, float, float, float] | None = None
    """x1, y1, x2, y2 in the network's input."""
    region_HW: Tensor | None = None
    """The pixels of the class, of a segmentor."""


def detection_cam(
    detector: nn.Module,
    inputs: Tensor,
    sample: Any,
    detection: int = 0,
    label: int | None = None,
    part: str = "neck",
) -> GradCam:
    """Of one detection of an mmdet detector, counted from the highest score.

    Args:
        inputs, sample: as the data preprocessor returns them, for one image.
        label: count only detections of this class.
        part: the module whose maps are weighed, "neck" or "backbone"; heats of several maps are added up.

    Raises:
        ValueError: no such part or detection, or a score that no map moves.
    """
    with torch.enable_grad(), _StayInGraph():
        maps, found = _with_maps(
            detector, part, lambda: detector.predict(inputs, [sample], rescale=False)[0]
        )
        found = found.pred_instances
        order = found.scores.argsort(descending=True)
        order = order if label is None else order[found.labels[order] == label]
        if not 0 <= detection < len(order):
            kind = "objects" if label is None else f"objects of class {label}"
            raise ValueError(
                f"there is no detection {detection}: the model finds {len(order)} {kind}, counted from 0"
            )
        chosen = int(order[detection])
        score = found.scores[chosen]
        heat, local = _weigh(maps, score, inputs.shape[2:])
    box = getattr(found.bboxes, "tensor", found.bboxes)[chosen].tolist()
    return GradCam(heat, local, int(found.labels[chosen]), float(score.data), tuple(box))


def segmentation_cam(
    segmentor: nn.Module,
    inputs: Tensor,
    sample: Any,
    label: int | None = None,
    part: str = "backbone",
) -> GradCam:
    """Of the mean logit of a class over the pixels where an mmseg segmentor sees it, by default its largest class.

    Raises:
        ValueError: no such part, a class that the segmentor does not see here, or one that no map moves.
    """
    with torch.enable_grad():
        maps, logits_BCHW = _with_maps(
            segmentor, part, lambda: segmentor.encode_decode(inputs, [sample.metainfo])
        )
        # One channel is a mask: class 1 where the logit is positive.
        seen_HW = (
            (logits_BCHW[0, 0] > 0).long()
            if logits_BCHW.shape[1] == 1
            else logits_BCHW[0].argmax(0)
        )
        label = int(seen_HW.flatten().mode().values) if label is None else label
        region_HW = seen_HW == label
        if not region_HW.any():
            raise ValueError(
                f"the segmentor sees class {label} nowhere in this image; it sees "
                + ", ".join(map(str, seen_HW.unique().tolist()))
            )
        logit_HW = (
            logits_BCHW[0, label]
            if logits_BCHW.shape[1] > 1
            else logits_BCHW[0, 0] * (1 if label else -1)
        )
        heat, local = _weigh(maps, logit_HW[region_HW].mean(), inputs.shape[2:])
    return GradCam(heat, local, label, float(region_HW.float().mean()), region_HW=region_HW.cpu())


class _StayInGraph(TorchFunctionMode):
    """`detach` does nothing: mmdet's dense heads detach what they predict from."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return args[0] if func is Tensor.detach else func(*args, **(kwargs or {}))


def _with_maps(model: nn.Module, part: str, run) -> tuple[list[Tensor], Any]:
    """The maps that leave a part of the model, with gradients, and what `run` returns."""
    module = getattr(model, part, None)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"{type(model).__name__} has no {part}, of which the maps could be taken; there are "
            + ", ".join(name for name in PARTS if isinstance(getattr(model, name, None), nn.Module))
        )
    maps: list[Tensor] = []

    def keep(_: nn.Module, __: tuple, output: Any) -> Any:
        # Leaves of their own: gradients end here, and those of frozen backbones begin here.
        taken = [x.data.requires_grad_() for x in output]
        maps.extend(taken)
        return tuple(taken)

    with module.register_forward_hook(keep):
        return maps, run()


def _weigh(maps: list[Tensor], score: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    gradients = torch.autograd.grad(score, maps, allow_unused=True)
    touched = [(x[0].data, g[0]) for x, g in zip(maps, gradients) if g is not None and g.any()]
    if not touched:
        raise ValueError(
            f"the score {float(score.data):.6f} depends on no map: it is saturated or detached"
        )
    heats = [(x * g.mean((1, 2), keepdim=True)).sum(0).relu() for x, g in touched]
    local = [(x * g).sum(0).relu() for x, g in touched]
    return _join(heats, size), _join(local, size)


def _join(heats: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Added at the input's size, the largest value 1."""
    whole = sum(F.interpolate(h[None, None], size, mode="bilinear")[0, 0] for h in heats).cpu()
    return whole / whole.max().clamp(min=torch.finfo(whole.dtype).tiny)


@paper_style
def draw_grad_cam(
    cam: GradCam, picture: Picture, name: str, path: str | PathLike | None = None
) -> Figure:
    """The image with the object or region, Grad-CAM and its local form; `name` is the class's."""
    figure, axes = panels(3, picture.aspect)
    picture.draw(
        axes[0],
        f"{name}, score {cam.score:.2f}" if cam.box else f"{name}, {cam.score:.0%} of the pixels",
    )
    for axis, heat_HW, title in zip(
        axes[1:], (cam.heat_HW, cam.local_HW), ("Grad-CAM", "by position (HiResCAM)")
    ):
        picture.draw(axis)
        alpha_HW = (CLEAR + (OPAQUE - CLEAR) * picture.crop(heat_HW)).numpy()
        picture.draw_map(axis, heat_HW, title, cmap=COLOURS, vmin=0, vmax=1, alpha=alpha_HW)
    for axis in axes:
        if cam.box is not None:
            x1, y1, x2, y2 = cam.box
            for colour, thick in (("black", 2.2), ("white", 1.2)):
                axis.add_patch(
                    Rectangle(
                        (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=thick
                    )
                )
        if cam.region_HW is not None:
            region = picture.crop(cam.region_HW).numpy()
            axis.contour(
                region,
                [0.5],
                colors="white",
                linewidths=0.8,
                extent=(0, picture.image_HW3.shape[1], 0, picture.image_HW3.shape[0]),
            )
    colour_bar(figure, axes, Normalize(0, 1), "contribution / largest", COLOURS)
    figure.suptitle("Grad-CAM of a detection" if cam.box else "Grad-CAM of a class")
    return save(figure, path)
