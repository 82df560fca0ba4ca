"""Routes that are used together, under one name."""

from collections.abc import Sequence

from ...suggest import did_you_mean
from .registry import REVERSED, known, unknown_route

_SETS: dict[str, tuple[str, ...]] = {}


def register_route_set(name: str, routes: Sequence[str]) -> tuple[str, ...]:
    """Give several routes one name, and return them.

    Raises:
        ValueError: the name is taken by a set or a route.
    """
    if name in _SETS or known(name):
        raise ValueError(f"a route or a set of routes '{name}' is already registered")
    _SETS[name] = tuple(routes)
    return _SETS[name]


def list_route_sets() -> dict[str, tuple[str, ...]]:
    """The registered sets and their routes."""
    return dict(_SETS)


def expand_routes(
    routes: str | Sequence[str] | Sequence[Sequence[str]],
) -> tuple[tuple[str, ...], ...]:
    """The routes of each head, sets replaced by their members.

    `"cross"` or `("row", "column")` is one head, `(("row",), ("column",))` are two.

    Raises:
        KeyError: no route or set of that name.
        ValueError: no routes, or heads of different numbers of routes.
    """
    heads = tuple(_members(head) for head in _heads(routes))
    lengths = [len(head) for head in heads]
    if not heads or not all(lengths) or len(set(lengths)) > 1:
        raise ValueError(
            f"routes are {routes}, wanted names, or for each head a tuple of names, all of one "
            f"length (not {', '.join(map(str, lengths)) or 'none'})"
        )
    return heads


def _heads(
    routes: str | Sequence[str] | Sequence[Sequence[str]],
) -> Sequence[str | Sequence[str]]:
    """The same as what is asked of each head."""
    if isinstance(routes, str):
        return (routes,)
    names = [name for name in routes if isinstance(name, str)]
    return (names,) if len(names) == len(routes) else routes


def _members(head: str | Sequence[str]) -> tuple[str, ...]:
    members: list[str] = []
    for name in (head,) if isinstance(head, str) else head:
        if name not in _SETS and not known(name):
            hint = did_you_mean(name, _SETS, kind="the set ")
            raise KeyError(f"{unknown_route(name)} Sets of routes: {', '.join(_SETS)}.{hint}")
        members.extend(_SETS.get(name, (name,)))
    return tuple(members)


def _and_backwards(*names: str) -> tuple[str, ...]:
    return (*names, *(name + REVERSED for name in names))


register_route_set("bidirectional", _and_backwards("row"))
register_route_set("cross", _and_backwards("row", "column"))
register_route_set("continuous", _and_backwards("snake", "snake_column"))
register_route_set("omnidirectional", _and_backwards("row", "column", "diagonal", "antidiagonal"))
register_route_set("fractal", _and_backwards("fractal_curve", "fractal_curve_column"))
register_route_set(
    "fractal_shifted", _and_backwards("fractal_curve_shifted", "fractal_curve_column_shifted")
)
register_route_set(
    "fractal_half", _and_backwards("fractal_curve_half", "fractal_curve_column_half")
)
register_route_set(
    # EfficientVMamba's four, in the order in which its weights expect them.
    "atrous",
    (
        "atrous_row_00_step2",
        "atrous_column_10_step2",
        "atrous_row_01_step2",
        "atrous_column_11_step2",
    ),
)
