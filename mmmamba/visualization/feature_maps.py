"""Feature maps as pictures: principal components as colours, and how strong each cell is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike

import torch
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor, nn

from .panels import colour_bar, panels
from .picture import Picture
from .style import HEAT, figure_style, save_figure

TAIL = 0.01
"""Share of the cells at either end of a component, which have the extreme colour in common."""


@torch.no_grad()
def feature_maps(backbone: nn.Module, images: Tensor, before_norm: bool = False) -> list[Tensor]:
    """The backbone's maps of the first image, `(H, W, C)` each, on the CPU.

    Args:
        before_norm: as they enter the norms `outnorm…` that our backbones end in, where there are
            such norms: after a LayerNorm all cells are about equally strong.

    Raises:
        ValueError: the backbone gives no maps.
    """
    entered: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        entered.append(inputs[0])

    with ExitStack() as hooks:
        for name, module in backbone.named_children():
            if before_norm and name.startswith("outnorm"):
                hooks.enter_context(module.register_forward_pre_hook(keep))
        given = backbone(images)
        if isinstance(given, Tensor) or any(x.dim() != 4 for x in given):
            raise ValueError(f"{type(backbone).__name__} gives no maps (B, C, H, W)")
        maps = [x_BCHW[0].permute(1, 2, 0) for x_BCHW in given]
    # Plain columns norm sequences, of which a pyramid may make maps of other sizes.
    # A pre-hook sees the tokens in the map's order, so a reshape is all that they need.
    alike = all(x[0].numel() == map_HWC.numel() for x, map_HWC in zip(entered, maps))
    if entered and alike:
        maps = [x[0].reshape(map_HWC.shape) for x, map_HWC in zip(entered, maps)]
    return [map_HWC.float().cpu() for map_HWC in maps]


def principal_colours(map_HWC: Tensor) -> Tensor:
    """The first three principal components of the cells' channels as colours: `(H, W, 3)`.

    They are red, green and blue in [0, 1]. A component's sign is free; it is chosen so that the
    cell furthest from the mean is bright.

    Raises:
        ValueError: fewer than three channels.
    """
    H, W, C = map_HWC.shape
    if C < 3:
        raise ValueError(f"three components want at least three channels, the map has {C}")
    cells = map_HWC.reshape(H * W, C).double()
    centred = cells - cells.mean(0)
    # Eigenvectors of the channels' covariance: C x C, however many cells there are.
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :3]
    parts = centred @ directions
    furthest = parts.gather(0, parts.abs().argmax(0, keepdim=True))
    parts = parts * torch.where(furthest < 0, -1, 1)
    # A few extreme cells must not take all the contrast.
    low, high = (parts.quantile(q, 0) for q in (TAIL, 1 - TAIL))
    spread = torch.where(high > low, high - low, 1)
    return ((parts - low) / spread).clamp(0, 1).view(H, W, 3).float()


def mean_activation(map_HWC: Tensor) -> Tensor:
    """Mean |activation| over the channels, `(H, W)`."""
    return map_HWC.abs().mean(2)


@figure_style
def draw_feature_maps(
    maps: Sequence[Tensor] | Mapping[str, Tensor],
    picture: Picture,
    path: str | PathLike | None = None,
) -> Figure:
    """Above the image and each map's principal components, below the mean activations.

    Activations are dark to bright within a map.

    Args:
        maps: `(H, W, C)` each, with titles, or numbered.
    """
    if not isinstance(maps, Mapping):
        maps = {f"map {number}": map_HWC for number, map_HWC in enumerate(maps)}
    columns = len(maps) + 1
    figure, axes = panels(2 * columns, picture.aspect, columns)
    picture.draw(axes[0], "image")
    # Below the image there is nothing: it has no activations.
    axes[columns].set_axis_off()
    for column, (name, map_HWC) in enumerate(maps.items(), 1):
        whole = map_HWC.shape[:2]
        # The padding of the input is no part of the picture, and must not take part in its colours.
        cropped_HWC = picture.crop(map_HWC)
        title = f"{name}, {cropped_HWC.shape[0]}×{cropped_HWC.shape[1]}"
        picture.draw_cropped(axes[column], principal_colours(cropped_HWC), whole, title)
        strength_HW = mean_activation(cropped_HWC)
        ends = dict(vmin=strength_HW.quantile(TAIL), vmax=strength_HW.quantile(1 - TAIL))
        picture.draw_cropped(axes[columns + column], strength_HW, whole, cmap=HEAT, **ends)
    axes[1].set_ylabel("PCA as colours")
    axes[columns + 1].set_ylabel("mean |activation|")
    colour_bar(figure, axes, Normalize(0, 1), "mean |activation|", HEAT, {0: "low", 1: "high"})
    figure.suptitle("Feature maps")
    return save_figure(figure, path)
