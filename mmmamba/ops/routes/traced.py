"""Route tables made by operators that an exporter can trace, of sides that may be symbols."""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .derived import derive
from .registry import route


def traced_table(names: Sequence[str], height: int, width: int) -> Tensor:
    """`route_table` as operators on the sides; nothing is checked.

    Raises:
        ValueError: a route that has to know the sides as numbers, where they are symbols.
    """
    routes = [route(name, height, width) for name in names]
    steps = functools.reduce(torch.sym_max, (order_T.shape[0] for order_T in routes))
    rows = [F.pad(order_T, (0, steps - order_T.shape[0]), value=-1) for order_T in routes]
    return torch.stack(rows).to(torch.int32)


def traced_derived_table(kind: str, names: Sequence[str], height: int, width: int) -> Tensor:
    """`visit_table`, `joined_visit_table` or `move_table` likewise.

    Args:
        kind: "visits", "joined" or "moves".
    """
    order_KT = traced_table(names, height, width).long()
    return derive(kind, order_KT, height, width).to(torch.int32)
