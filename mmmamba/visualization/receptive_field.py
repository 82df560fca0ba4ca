"""The effective receptive field: which pixels move the centre of an output map, and by how much.

Luo et al., arXiv 1701.04128, section 2; the contribution scores of RepLKNet, arXiv 2203.06717,
section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from .panels import colour_bar, log_colours, panels
from .picture import Picture
from .style import HEAT, figure_style, save_figure

SHARES = (0.5, 0.95, 0.99)
DECADES = 4
"""Powers of ten that the colours span."""

Maps = Tensor | Sequence[Tensor]


def effective_receptive_field(
    model: Callable[[Tensor], Maps], images: Tensor, level: int = -1
) -> Tensor:
    """Mean |d output / d pixel| of the centre of an output map: `(H, W)` of the images.

    It is summed over colours. The centre's channels are joined by random weights, drawn anew for
    each image: their plain sum is a constant where a LayerNorm comes last.

    Args:
        model: from `(1, 3, H, W)` to a map `(1, C, H', W')`, or to several.
        images: `(N, 3, H, W)`, normalised.
        level: which of several maps.

    Raises:
        ValueError: the output does not depend on the images, or is no map.
    """
    generator = torch.Generator().manual_seed(0)
    field_HW = torch.zeros(images.shape[2:], dtype=torch.float64)
    for image_1CHW in images.split(1):
        # One image at a time: a graph of all would hold the activations of all.
        image_1CHW = image_1CHW.detach().requires_grad_()
        with torch.enable_grad():
            centre_C = _centre(model(image_1CHW), level)
            # Drawn on the CPU, so that a GPU gives the same picture.
            weights_C = torch.randn(len(centre_C), generator=generator).to(centre_C)
            (gradient_1CHW,) = torch.autograd.grad((centre_C * weights_C).sum(), image_1CHW)
        # Absolute before the sum, or images would cancel each other out.
        field_HW += gradient_1CHW[0].abs().sum(0).double().cpu()
    if not field_HW.any():
        raise ValueError("no pixel moves the centre of the output map")
    return field_HW / len(images)


def _centre(maps: Maps, level: int) -> Tensor:
    """The channels of the cell in the middle."""
    map_1CHW = maps if isinstance(maps, Tensor) else maps[level]
    if map_1CHW.dim() != 4:
        raise ValueError(
            f"a receptive field is that of a map (B, C, H, W); the model gives {map_1CHW.shape}"
        )
    H, W = map_1CHW.shape[2:]
    # With an even number of cells, the one below and right of the middle.
    return map_1CHW[0, :, H // 2, W // 2]


def contribution_shares(field_HW: Tensor, shares: Sequence[float] = SHARES) -> dict[float, float]:
    """For each share of the whole contribution, the smallest part of the pixels that holds it."""
    held = field_HW.flatten().sort(descending=True).values.cumsum(0)
    # The place where the sum reaches a share; places count from 0.
    counts = torch.searchsorted(held / held[-1], torch.tensor(shares, dtype=held.dtype)) + 1
    # Rounding may leave the last sum a little below the share that is asked for.
    return {share: min(int(count), len(held)) / len(held) for share, count in zip(shares, counts)}


def last_map(classifier: nn.Module) -> Callable[[Tensor], Tensor]:
    """From images to what a classifier of torchvision pools: its last map `(B, C, H, W)`.

    Raises:
        ValueError: the model has no average pooling of maps, as vision transformers of one width
            have none.
    """
    pools = []
    for module in classifier.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            pools.append(module)
    if not pools:
        raise ValueError(f"{type(classifier).__name__} pools no map at its end")

    def run(images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        # The last one: squeeze-and-excitation blocks pool maps to 1 x 1 as well.
        with pools[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
            classifier(images)
        return seen[-1]

    return run


def random_crops(image: Tensor, size: int, count: int) -> Tensor:
    """`(count, 3, size, size)` of an image `(3, H, W)`, by chance mirrored.

    A small image is enlarged first.
    """
    generator = torch.Generator().manual_seed(0)
    shortest = min(image.shape[1:])
    # Crops of the size that is asked for exist in a larger image only.
    if shortest < size:
        sides = [max(round(side * size / shortest), size) for side in image.shape[1:]]
        larger = nn.functional.interpolate(
            image[None].float(), sides, mode="bilinear", antialias=True
        )
        image = larger[0]
    crops = []
    for _ in range(count):
        y, x = (
            int(torch.randint(side - size + 1, (), generator=generator)) for side in image.shape[1:]
        )
        crop = image[:, y : y + size, x : x + size]
        crops.append(crop.flip(2) if torch.rand((), generator=generator) < 0.5 else crop)
    return torch.stack(crops)


@figure_style
def draw_receptive_fields(
    fields: Mapping[str, Tensor], path: str | PathLike | None = None
) -> Figure:
    """A panel for each field, by title.

    Below each stands which parts of the pixels hold 50, 95 and 99 % of the contribution.
    """
    aspects = [field.shape[0] / field.shape[1] for field in fields.values()]
    figure, axes = panels(len(fields), max(aspects), rows_high=0.42)
    norm = log_colours(DECADES)
    for axis, (title, field_HW) in zip(axes, fields.items()):
        shares_HW = (field_HW / field_HW.max()).clamp(min=10.0**-DECADES)
        Picture.blank(*field_HW.shape).draw_map(axis, shares_HW, title, norm=norm, cmap=HEAT)
        held = contribution_shares(field_HW)
        pixels, shares = _percents(held.values(), 1), _percents(held, 0)
        text = f"{pixels} % of the pixels\nhold {shares} % of it"
        axis.set_xlabel(text, fontsize=7, labelpad=3)
    colour_bar(figure, axes, norm, "contribution / largest")
    figure.suptitle("Effective receptive field of the centre")
    return save_figure(figure, path)


def _percents(values: Iterable[float], digits: int) -> str:
    return " / ".join(f"{100 * value:.{digits}f}" for value in values)
