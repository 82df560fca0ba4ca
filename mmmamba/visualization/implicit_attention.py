"""The implicit attention of a selective scan: what each step takes from those before it.

Ali, Zimerman & Wolf, "The Hidden Attention of Mamba Models", arXiv 2403.01590, section 3.2: a scan
is a sum over earlier steps with weights that depend on the image.

    y[t] = sum over s <= t of  weight[t, s] u[s]  +  D u[t]
    weight[t, s] = sum over states of  C[t] exp(A (delta[s+1] + … + delta[t])) delta[s] B[s]

There is one such matrix for each route and channel. Only the row of the chosen step is computed,
L numbers and not L x L.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .panels import colour_bar, log_colours, panels, readable
from .picture import Picture
from .scans import Scan
from .style import HEAT, figure_style, save_figure

DECADES = 3
"""Powers of ten that the colours span."""


@dataclass(frozen=True)
class ImplicitAttention:
    """What one cell of a map takes from every other, as means over the channels of |weight|.

    NaN stands at cells that come after it on the route, or belong to another window: they cannot
    reach it.
    """

    scan: Scan
    cell: tuple[int, int]
    """Row and column."""
    routes: tuple[str, ...]
    """Those that visit the cell."""
    by_route_KHW: Tensor
    total_HW: Tensor
    """The routes' weights summed, with their signs, before the mean over the channels."""


def attention_weights(scan: Scan, route: int, step: int, sequence: int = 0) -> Tensor:
    """What one step's output takes from each step up to itself: `(step + 1, D)` of float64.

    `(weights * u).sum(0) + D * u[step]` is what the scan returns there.
    """
    # The walk holds this route of this sequence alone: its B and K are 1.
    walk = scan.walk(route, sequence)
    delta_TD = walk.delta_BTKD[0, : step + 1, 0].double()
    B_TN = walk.B_BTKN[0, : step + 1, 0].double()
    # delta is behind bias and softplus already, as the recurrence uses it.
    A_DN = walk.A_KDN[0].double()
    C_N = walk.C_BTKN[0, step, 0].double()
    # delta[s+1] + … + delta[t] for every s, as a difference of two running sums.
    passed_TD = delta_TD.cumsum(0)
    since_TD = passed_TD[-1] - passed_TD
    weights_TD = torch.zeros_like(since_TD)
    # State by state: (T, D, N) of a large map would not fit into memory.
    for A_D, B_T, C in zip(A_DN.unbind(1), B_TN.unbind(1), C_N):
        weights_TD += torch.exp(A_D * since_TD) * (C * B_T)[:, None]
    return weights_TD * delta_TD


def implicit_attention(scan: Scan, row: int, column: int, image: int = 0) -> ImplicitAttention:
    """The implicit attention of a cell of the map that `scan` walked.

    Weights on padding and extra tokens (a class token, a window's filling) belong to no cell and
    are left out; gates that a mixer puts on the scan's output are not part of the scan and count
    as one.

    Raises:
        ValueError: the map has no such cell.
    """
    H, W = scan.height, scan.width
    if not (0 <= row < H and 0 <= column < W):
        raise ValueError(
            f"the map of {scan.name} has {H}x{W} cells, there is none at row {row}, column {column}"
        )
    sequences, routes, _ = scan.cells_GKT.shape
    names, by_route = [], []
    # Each head has routes and channels of its own; only a head's routes are summed.
    by_head: dict[int, list[Tensor]] = {}
    for sequence, k, step in scan.visits(row * W + column):
        weights_TD = attention_weights(scan, k, step, image * sequences + sequence).cpu()
        on_map_LD = _on_map(weights_TD, scan.cells_GKT[sequence, k, : step + 1], H * W)
        names.append(scan.routes[k])
        by_route.append(on_map_LD.abs().mean(1))
        # Routes stand head by head, each with as many.
        by_head.setdefault(k * scan.heads // routes, []).append(on_map_LD)
    heads_XL = torch.stack([_sum(head).abs().mean(1) for head in by_head.values()])
    return ImplicitAttention(
        scan,
        (row, column),
        tuple(names),
        torch.stack(by_route).view(-1, H, W),
        heads_XL.nanmean(0).view(H, W),
    )


def _on_map(weights_TD: Tensor, cells_T: Tensor, cells: int) -> Tensor:
    """The weights at their cells `(cells, D)`; NaN where the route has not been yet."""
    # NaN and not 0: a weight of 0 is a cell that was seen and gives nothing.
    on_map_LD = weights_TD.new_full((cells, weights_TD.shape[1]), torch.nan)
    seen_T = cells_T >= 0
    on_map_LD[cells_T[seen_T]] = weights_TD[seen_T]
    return on_map_LD


def _sum(routes_LD: list[Tensor]) -> Tensor:
    """The sum over routes; NaN where none of them has been."""
    stacked_KLD = torch.stack(routes_LD)
    return torch.where(stacked_KLD.isnan().all(0), torch.nan, stacked_KLD.nansum(0))


@figure_style
def draw_implicit_attention(
    attention: ImplicitAttention, picture: Picture, path: str | PathLike | None = None
) -> Figure:
    """The image, the sum over the routes and every route apart, with the cell marked.

    Logarithmic colours; grey cells cannot reach the chosen one.
    """
    titles = [readable(route) for route in attention.routes]
    maps = list(attention.by_route_KHW)
    # The sum of a single route is that route's own map.
    if len(maps) > 1:
        titles, maps = ["all routes", *titles], [attention.total_HW, *maps]
    figure, axes = panels(len(maps) + 1, picture.aspect)
    picture.draw(axes[0], "image")
    norm = log_colours(DECADES)
    for axis, map_HW, title in zip(axes[1:], maps, titles):
        # Zero has no logarithm: what is below the range gets its lowest colour.
        shares_HW = map_HW / map_HW[~map_HW.isnan()].max()
        picture.draw_map(axis, shares_HW.clamp(min=10.0**-DECADES), title, norm=norm, cmap=HEAT)
    colour_bar(figure, axes, norm, "|weight| / largest")
    scan = attention.scan
    for axis in axes:
        picture.draw_cell(axis, attention.cell, scan.height, scan.width)
    figure.suptitle(
        f"Implicit attention of a cell: stage {scan.stage}, block {scan.block}, "
        f"{scan.height}×{scan.width} cells"
    )
    return save_figure(figure, path)
