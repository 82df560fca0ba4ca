"""Routes by name, and the index tables that the scan walks."""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...suggest import did_you_mean
from ..derivatives import watched
from ..lowering import beside_tracing, lowers

Route = Callable[[int, int], Tensor]
REVERSED = "_reversed"


@dataclass(frozen=True)
class _Sized:
    """Routes that differ in a size, `window7`: what follows the prefix is the size."""

    make: Callable[[int, int, int], Tensor]
    steps: Callable[[int, int, int], int]
    examples: tuple[int, ...]


_ROUTES: dict[str, Route] = {}
_EXACT: set[str] = set()
_SIZED: dict[str, _Sized] = {}


def register_route(name: str, exact: bool = False) -> Callable[[Route], Route]:
    """Add a route under a new name.

    Args:
        exact: it visits every position and has no holes, so T is height x width.

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


def register_sized_route(
    prefix: str, steps: Callable[[int, int, int], int], examples: Sequence[int]
) -> Callable:
    """Add the routes `prefix` + 1 … 999, a function of height, width and that size.

    Args:
        steps: T from height, width and size, without making the route, so that the compiler can
            know it.
        examples: sizes that `list_routes` names.

    Raises:
        ValueError: the prefix is taken.
    """

    def add(make: Callable[[int, int, int], Tensor]) -> Callable[[int, int, int], Tensor]:
        if prefix in _SIZED:
            raise ValueError(f"routes of a size are already registered as '{prefix}'")
        _SIZED[prefix] = _Sized(make, steps, tuple(examples))
        return make

    return add


def list_routes() -> list[str]:
    """The names of all registered routes without their reverses; with a size, the usual ones."""
    names = list(_ROUTES)
    for prefix, sized in _SIZED.items():
        names += [f"{prefix}{size}" for size in sized.examples]
    return sorted(names)


def _sized(base: str) -> tuple[_Sized, int] | None:
    # Lazy, so that all digits at the end are the size's; a prefix may hold digits of its own.
    found = re.fullmatch(r"(.*?)([1-9]\d{0,2})", base)
    return (_SIZED[found[1]], int(found[2])) if found and found[1] in _SIZED else None


def route(name: str, height: int, width: int) -> Tensor:
    """Positions of one route in order, `(T,)` int64, -1 for holes.

    Raises:
        KeyError: no route of that name.
    """
    base = name.removesuffix(REVERSED)
    # Before sizes are looked for: a fixed name may end in digits, too.
    if base in _ROUTES:
        order = _ROUTES[base](height, width)
    elif sized := _sized(base):
        order = sized[0].make(height, width, sized[1])
    else:
        raise KeyError(unknown_route(name))
    return order.flip(0) if name.endswith(REVERSED) else order


def known(name: str) -> bool:
    """Whether `route` takes this name."""
    base = name.removesuffix(REVERSED)
    return base in _ROUTES or _sized(base) is not None


def unknown_route(name: str) -> str:
    """What to tell whoever asked for a route that is not there."""
    base = name.removesuffix(REVERSED)
    message = f"no route '{name}'; there are {', '.join(list_routes())} and their '{REVERSED}'."
    for prefix in _SIZED:
        if base.startswith(prefix):
            return (
                f"{message} Routes of the form '{prefix}N' want a whole number N of 1 … 999 "
                "without leading zeros."
            )
    return message + did_you_mean(base, list_routes())


def _steps(name: str, height: int, width: int) -> int:
    """T of a route, of symbolic sides where that is known without making it."""
    base = name.removesuffix(REVERSED)
    if base in _EXACT:
        return height * width
    if base not in _ROUTES and (sized := _sized(base)):
        return sized[0].steps(height, width, sized[1])
    return len(route(name, int(height), int(width)))


def cover(names: Sequence[str]) -> bool:
    """Whether each of these routes is known, for any size, to visit every position once."""
    if torch.compiler.is_compiling():
        # A compiler looks through no cache, and needs none.
        return all(name.removesuffix(REVERSED) in _EXACT for name in names)
    return _cover(tuple(names), len(_EXACT))


@functools.lru_cache(maxsize=512)
def _cover(names: tuple[str, ...], registered: int) -> bool:
    # The number of routes that are known to do so is asked for because it grows.
    return all(name.removesuffix(REVERSED) in _EXACT for name in names)


def route_table(
    names: Sequence[str], height: int, width: int, device: torch.device | str = "cpu"
) -> Tensor:
    """The index table `(K, T)`, int32, of K routes over a map; shorter routes end in holes.

    It is cached for each map size. Do not write into it: every caller shares the same table.

    Raises:
        KeyError: an unknown name.
        ValueError: a route that leaves the map or visits a position twice, or positions that no
            route visits.
    """
    # What is made inside a transform or under a mode is theirs; the cache is for all, so an
    # operator fills it.
    if lowers():
        return _lowered_table(names, height, width, device)
    if watched():
        # In one string, as an operator's schema knows no lists of strings: names hold no spaces.
        return _table_op(" ".join(names), height, width, torch.device(device))
    return keep(_table(tuple(names), int(height), int(width), torch.device(device)))


def _lowered_table(
    names: Sequence[str], height: int, width: int, device: torch.device | str
) -> Tensor:
    """The table as a constant, or for sides that are symbols as operators, without any check."""
    if isinstance(height, int) and isinstance(width, int):
        with beside_tracing():
            return _table(tuple(names), height, width, torch.device(device))
    routes = [route(name, height, width) for name in names]
    steps = functools.reduce(torch.sym_max, (order_T.shape[0] for order_T in routes))
    rows = [F.pad(order_T, (0, steps - order_T.shape[0]), value=-1) for order_T in routes]
    return torch.stack(rows).to(torch.int32).to(device)


_KEEPERS: list[list[Tensor]] = []


def keep(table: Tensor) -> Tensor:
    """A cached table, handed to all inside of `keep_tables` too."""
    for kept in _KEEPERS:
        kept.append(table)
    return table


@contextmanager
def keep_tables() -> Iterator[list[Tensor]]:
    """The tables asked for inside, kept for whoever goes on reading their memory.

    The cache may have let them go by then.
    """
    kept: list[Tensor] = []
    _KEEPERS.append(kept)
    try:
        yield kept
    finally:
        # By identity: == would compare the tables.
        _KEEPERS[:] = [other for other in _KEEPERS if other is not kept]


@torch.library.custom_op("mmmamba::route_table", mutates_args=())
def _table_op(names: str, height: int, width: int, device: torch.device) -> Tensor:
    """One node for the compiler, which would else trace how the table is made."""
    table = _table(tuple(names.split()), height, width, device)
    # CUDA graphs own the memory of what a node returns; but a table that has to be looked at is
    # known by its memory.
    return table.clone() if cover(names.split()) else table


@_table_op.register_fake
def _(names, height, width, device):
    routes = names.split()
    # Sides may be symbols here, and `sym_max` keeps the larger one of them a symbol.
    steps = functools.reduce(torch.sym_max, (_steps(name, height, width) for name in routes))
    return torch.empty(len(routes), steps, dtype=torch.int32, device=device)


@functools.lru_cache(maxsize=512)
def _table(names: tuple[str, ...], height: int, width: int, device: torch.device) -> Tensor:
    # A table made in inference mode could not be saved for a backward pass later.
    with torch.inference_mode(False):
        routes = [route(name, height, width) for name in names]
        exact = [name.removesuffix(REVERSED) in _EXACT for name in names]
        for name, order, trusted in zip(names, routes, exact):
            if not trusted:
                _check(name, order, height * width)
        # A route that visits everything leaves nothing for others to have missed.
        if not any(exact):
            _check_together(names, routes, height, width)
        steps = max(len(order) for order in routes)
        table = torch.full((len(names), steps), -1, dtype=torch.int32)
        for row, order in zip(table, routes):
            row[: len(order)] = order
        return table.to(device)


def _check_together(names: tuple[str, ...], routes: list[Tensor], height: int, width: int) -> None:
    missed = height * width - int((torch.cat(routes).unique() >= 0).sum())
    if missed:
        raise ValueError(
            f"routes {names} leave {missed} of the {height}x{width} positions unvisited"
        )


def _check(name: str, order: Tensor, length: int) -> None:
    visited = order[order >= 0]
    if order.numel() and (int(order.max()) >= length or int(order.min()) < -1):
        raise ValueError(
            f"route '{name}' leaves the map of {length} positions: it goes from "
            f"{int(order.min())} to {int(order.max())}"
        )
    if len(visited.unique()) != len(visited):
        raise ValueError(f"route '{name}' visits a position twice")
