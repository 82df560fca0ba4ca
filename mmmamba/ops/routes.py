"""In which order the cells of a map are visited: index tables over row-major positions.

A route is a pure function of the map's height and width that returns the visited positions in order, `(T,)` int64;
-1 is a hole, a step on padding. It visits no position twice. Register one with `@register_route("name")`; every
route also exists walked backwards, as `"name_reversed"`.
"""

import difflib
from functools import lru_cache
from typing import Callable, Sequence

import torch
from torch import Tensor

Route = Callable[[int, int], Tensor]
_ROUTES: dict[str, Route] = {}
_EXACT: set[str] = set()
REVERSED = "_reversed"


def register_route(name: str, exact: bool = False) -> Callable[[Route], Route]:
    """Add a route under a new name; `exact`: it visits every position and has no holes, so T is height x width.

    Raises:
        ValueError: the name is taken.
    """

    def add(route: Route) -> Route:
        if name in _ROUTES:
            raise ValueError(f"a route '{name}' is already registered")
        _ROUTES[name] = route
        if exact:
            _EXACT.add(name)
        return route

    return add


def list_routes() -> list[str]:
    """The names of all registered routes, without their reverses."""
    return sorted(_ROUTES)


def route(name: str, height: int, width: int) -> Tensor:
    """Positions of one route in order, `(T,)` int64, -1 for holes.

    Raises:
        KeyError: no route of that name.
    """
    backwards = name.endswith(REVERSED)
    base = name.removesuffix(REVERSED)
    if base not in _ROUTES:
        close = difflib.get_close_matches(base, _ROUTES, 1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise KeyError(f"no route '{name}'; there are {', '.join(list_routes())} and their '{REVERSED}'.{hint}")
    order = _ROUTES[base](height, width)
    return order.flip(0) if backwards else order


def route_table(names: Sequence[str], height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """The index table `(K, T)`, int32, of K routes over a map; shorter routes end in holes. Cached per map size.

    Do not write into it: every caller shares the same table.

    Raises:
        KeyError: an unknown name.
        ValueError: a route that leaves the map or visits a position twice, or positions that no route visits.
    """
    if torch.compiler.is_compiling():
        return _table_op(" ".join(names), height, width, torch.device(device))
    return _table(tuple(names), int(height), int(width), torch.device(device))


@torch.library.custom_op("mmmamba::route_table", mutates_args=())
def _table_op(names: str, height: int, width: int, device: torch.device) -> Tensor:
    """One node for the compiler, which would else trace how the table is made."""
    return _table(tuple(names.split()), height, width, device)


@_table_op.register_fake
def _(names, height, width, device):
    routes = names.split()
    steps = height * width
    if any(name.removesuffix(REVERSED) not in _EXACT for name in routes):
        steps = max(len(route(name, int(height), int(width))) for name in routes)
    return torch.empty(len(routes), steps, dtype=torch.int32, device=device)


@lru_cache(maxsize=4096)
def _table(names: tuple[str, ...], height: int, width: int, device: torch.device) -> Tensor:
    routes = [route(name, height, width) for name in names]
    for name, order in zip(names, routes):
        _check(name, order, height * width)
    seen = torch.cat(routes).unique()
    missed = height * width - int((seen >= 0).sum())
    if missed:
        raise ValueError(f"routes {names} leave {missed} of the {height}x{width} positions unvisited")
    steps = max(len(order) for order in routes)
    table = torch.full((len(names), steps), -1, dtype=torch.int32)
    for row, order in zip(table, routes):
        row[: len(order)] = order
    return table.to(device)


def _check(name: str, order: Tensor, length: int) -> None:
    visited = order[order >= 0]
    if order.numel() and (int(order.max()) >= length or int(order.min()) < -1):
        raise ValueError(f"route '{name}' leaves the map: positions {int(order.min())} to {int(order.max())} of {length}")
    if len(visited.unique()) != len(visited):
        raise ValueError(f"route '{name}' visits a position twice")


def _grid(height: int, width: int) -> Tensor:
    return torch.arange(height * width).view(height, width)


@register_route("row", exact=True)
def row(height: int, width: int) -> Tensor:
    """Row after row: the plain sequence (Vim's forward direction, VMamba's first)."""
    return _grid(height, width).flatten()


@register_route("column", exact=True)
def column(height: int, width: int) -> Tensor:
    """Column after column (VMamba, arXiv 2401.10166, figure 2)."""
    return _grid(height, width).t().flatten()
