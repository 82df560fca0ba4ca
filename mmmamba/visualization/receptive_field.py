"""The effective receptive field: which pixels move the centre of an output map, and by how much (Luo et al.,
arXiv 1701.04128, section 2; the contribution scores of RepLKNet, arXiv 2203.06717, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from .style import HEAT, Picture, colour_bar, log_colours, panels, paper_style, save

SHARES = (0.5, 0.95, 0.99)
DECADES = 4
"""Powers of ten that the colours span."""


def effective_receptive_field(
    model: Callable[[Tensor], Tensor | Sequence[Tensor]], images: Tensor, level: int = -1
) -> Tensor:
    """Mean |d output / d pixel| of the centre of an output map, summed over colours: `(H, W)` of the images.

    The centre's channels are joined by random weights, drawn anew for each image: their plain sum is a constant where
    a LayerNorm comes last.

    Args:
        model: from `(1, 3, H, W)` to a map `(1, C, H', W')`, or to several.
        images: `(N, 3, H, W)`, normalised.
        level: which of several maps.

    Raises:
        ValueError: the output does not depend on the images, or is no map.
    """
    generator = torch.Generator().manual_seed(0)
    field = torch.zeros(images.shape[2:], dtype=torch.float64)
    for image in images.split(1):
        image = image.detach().requires_grad_()
        with torch.enable_grad():
            maps = model(image)
            map_BCHW = maps if isinstance(maps, Tensor) else maps[level]
            if map_BCHW.dim() != 4:
                raise ValueError(
                    f"a receptive field is that of a map (B, C, H, W); the model gives {map_BCHW.shape}"
                )
            centre_C = map_BCHW[0, :, map_BCHW.shape[2] // 2, map_BCHW.shape[3] // 2]
            weights_C = torch.randn(len(centre_C), generator=generator).to(centre_C)
            (gradient,) = torch.autograd.grad((centre_C * weights_C).sum(), image)
        field += gradient[0].abs().sum(0).double().cpu()
    if not field.any():
        raise ValueError("no pixel moves the centre of the output map")
    return field / len(images)


def contribution_shares(field_HW: Tensor, shares: Sequence[float] = SHARES) -> dict[float, float]:
    """For each share of the whole contribution, the smallest part of the pixels that holds it."""
    held = field_HW.flatten().sort(descending=True).values.cumsum(0)
    counts = torch.searchsorted(held / held[-1], torch.tensor(shares, dtype=held.dtype)) + 1
    return {share: min(int(count), len(held)) / len(held) for share, count in zip(shares, counts)}


def last_map(classifier: nn.Module) -> Callable[[Tensor], Tensor]:
    """What a classifier of torchvision pools: its last map `(B, C, H, W)`.

    Raises:
        ValueError: the model has no average pooling of maps, as vision transformers of one width have none.
    """
    pools = [
        m
        for m in classifier.modules()
        if isinstance(m, nn.AdaptiveAvgPool2d) and m.output_size in (1, (1, 1))
    ]
    if not pools:
        raise ValueError(f"{type(classifier).__name__} pools no map at its end")

    def run(images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        with pools[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
            classifier(images)
        return seen[-1]

    return run


def random_crops(image: Tensor, size: int, count: int) -> Tensor:
    """`(count, 3, size, size)` of an image `(3, H, W)`, by chance mirrored; a small image is enlarged first."""
    generator = torch.Generator().manual_seed(0)
    if min(image.shape[1:]) < size:
        scale = size / min(image.shape[1:])
        sides = [max(round(side * scale), size) for side in image.shape[1:]]
        image = nn.functional.interpolate(
            image[None].float(), sides, mode="bilinear", antialias=True
        )[0]
    crops = []
    for _ in range(count):
        y, x = (
            int(torch.randint(side - size + 1, (), generator=generator)) for side in image.shape[1:]
        )
        crop = image[:, y : y + size, x : x + size]
        crops.append(crop.flip(2) if torch.rand((), generator=generator) < 0.5 else crop)
    return torch.stack(crops)


@paper_style
def draw_receptive_fields(
    fields: Mapping[str, Tensor], path: str | PathLike | None = None
) -> Figure:
    """A panel for each field, by title; below, which parts of the pixels hold 50, 95 and 99 % of the contribution."""
    aspects = [field.shape[0] / field.shape[1] for field in fields.values()]
    figure, axes = panels(len(fields), max(aspects), rows_high=0.42)
    norm = log_colours(DECADES)
    for axis, (title, field_HW) in zip(axes, fields.items()):
        shares_HW = (field_HW / field_HW.max()).clamp(min=10.0**-DECADES)
        Picture.blank(*field_HW.shape).draw_map(axis, shares_HW, title, norm=norm, cmap=HEAT)
        held = contribution_shares(field_HW)
        parts, shares = (
            " / ".join(f"{100 * x:.{digits}f}" for x in values)
            for values, digits in ((held.values(), 1), (held, 0))
        )
        axis.set_xlabel(f"{parts} % of the pixels\nhold {shares} % of it", fontsize=7, labelpad=3)
    colour_bar(figure, axes, norm, "contribution / largest")
    figure.suptitle("Effective receptive field of the centre")
    return save(figure, path)
