"""Tables that follow from routes: when a position is visited, and which move led to a step.

Cached for each map size as the routes' own, which every caller shares: do not write into them.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..derivatives import watched
from ..lowering import beside_tracing, lowers
from .registry import _steps, cover, keep, route_table

MOVES = ("none", "right", "left", "up", "down")
"""What the numbers of `move_table` mean; "none" is the first step's."""


def visit_table(
    names: Sequence[str], height: int, width: int, device: torch.device | str = "cpu"
) -> Tensor:
    """The step at which each of K routes visits a position, `(K, H W)` int32; -1 for never."""
    return _derived("visits", names, height, width, device)


def joined_visit_table(
    names: Sequence[str], height: int, width: int, device: torch.device | str = "cpu"
) -> Tensor:
    """When one walk, of K routes one after another, visits a position: `(H W, K)` int32.

    Raises:
        ValueError: a route that is not known to visit every position once (`cover`).
    """
    if not cover(names):
        raise ValueError(f"routes {tuple(names)} are not known to visit every position once")
    return _derived("joined", names, height, width, device)


def move_table(
    names: Sequence[str], height: int, width: int, device: torch.device | str = "cpu"
) -> Tensor:
    """The move that led to each step of K routes, `(K, T)` int32, as a number of `MOVES`.

    Raises:
        ValueError: a step to a cell that is no neighbour.
    """
    return _derived("moves", names, height, width, device)


def _derived(
    kind: str, names: Sequence[str], height: int, width: int, device: torch.device | str
) -> Tensor:
    if lowers():
        return _lowered(kind, names, height, width, device)
    # For the reasons that `route_table` gives.
    if watched():
        return _derived_op(kind, " ".join(names), height, width, torch.device(device))
    return keep(_made(kind, tuple(names), int(height), int(width), torch.device(device)))


def _lowered(
    kind: str, names: Sequence[str], height: int, width: int, device: torch.device | str
) -> Tensor:
    if isinstance(height, int) and isinstance(width, int):
        with beside_tracing():
            return _made(kind, tuple(names), height, width, torch.device(device))
    order_KT = route_table(names, height, width, device).long()
    return _KINDS[kind](order_KT, height, width).to(torch.int32)


@torch.library.custom_op("mmmamba::derived_route_table", mutates_args=())
def _derived_op(kind: str, names: str, height: int, width: int, device: torch.device) -> Tensor:
    # A copy, as CUDA graphs own the memory of what a node returns.
    return _made(kind, tuple(names.split()), height, width, device).clone()


@_derived_op.register_fake
def _(kind, names, height, width, device):
    routes = names.split()
    steps = functools.reduce(torch.sym_max, (_steps(name, height, width) for name in routes))
    shapes = dict(
        visits=(len(routes), height * width),
        joined=(height * width, len(routes)),
        moves=(len(routes), steps),
    )
    return torch.empty(shapes[kind], dtype=torch.int32, device=device)


@functools.lru_cache(maxsize=512)
def _made(
    kind: str, names: tuple[str, ...], height: int, width: int, device: torch.device
) -> Tensor:
    # A table made in inference mode could not be saved for a backward pass later.
    with torch.inference_mode(False):
        order_KT = route_table(names, height, width).long()
        if kind == "moves":
            _check_moves(order_KT, height, width)
        return _KINDS[kind](order_KT, height, width).to(torch.int32).to(device)


def _visits(order_KT: Tensor, height: int, width: int) -> Tensor:
    (K, T), cells = order_KT.shape, height * width
    visits_KL = torch.full((K, cells + 1), -1)
    # Holes all write to one more place, which is cut off.
    place_KT = torch.where(order_KT < 0, cells, order_KT)
    visits_KL.scatter_(1, place_KT, torch.arange(T).expand(K, -1))
    return visits_KL[:, :cells]


def _joined(order_KT: Tensor, height: int, width: int) -> Tensor:
    K, T = order_KT.shape
    return (_visits(order_KT, height, width) + T * torch.arange(K)[:, None]).t().contiguous()


def _went(order_KT: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """How far each step but the first goes down and right."""
    return (order_KT // width).diff(dim=1), (order_KT % width).diff(dim=1)


def _check_moves(order_KT: Tensor, height: int, width: int) -> None:
    down_KS, right_KS = _went(order_KT, width)
    if (order_KT < 0).any() or not (down_KS.abs() + right_KS.abs() == 1).all():
        raise ValueError(
            f"move_table wants routes that go from neighbour to neighbour; on {height}x{width} one "
            "of these leaps or has holes"
        )


def _moves(order_KT: Tensor, height: int, width: int) -> Tensor:
    down_KS, right_KS = _went(order_KT, width)
    across_KS = torch.where(right_KS > 0, MOVES.index("right"), MOVES.index("left"))
    along_KS = torch.where(down_KS > 0, MOVES.index("down"), MOVES.index("up"))
    move_KS = torch.where(right_KS != 0, across_KS, along_KS)
    return torch.cat([torch.zeros_like(order_KT[:, :1]), move_KS], 1)


_KINDS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "visits": _visits,
    "joined": _joined,
    "moves": _moves,
}
