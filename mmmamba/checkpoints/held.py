"""What a file held, once it is read: gone through once, each object once, to a bounded depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .pickle_bounds import MOST_DEPTH, RefusedPickleError
from .storing import plain

Globals = list[Callable[..., Any] | tuple[Callable[..., Any], str]]
"""What torch's weights-only reader may build, as its `safe_globals` takes it: (what, named so)."""


def settle(value: Any, real: Callable[[Any], Any] = lambda record: record) -> Any:
    """The value with plain tensors, without attributes of the file, in the place of all.

    Args:
        real: what is neither a tensor nor a dict, list or tuple, to what stands for it.

    Raises:
        RefusedPickleError: it is nested too deeply.
    """
    return _settle(value, real, {}, 0)


def _settle(value: Any, real: Callable, done: dict[int, tuple[Any, Any]], depth: int) -> Any:
    if id(value) in done:
        return done[id(value)][1]
    if depth > MOST_DEPTH:
        raise RefusedPickleError(f"its objects are nested more than {MOST_DEPTH} levels deep")
    if isinstance(value, (dict, list)):
        # Known before its content is gone through: it may hold itself. Changed in place, so that
        # all who hold it see the same; keys stay, so a dict may be changed while it is iterated.
        done[id(value)] = (value, value)
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            value[key] = _settle(item, real, done, depth + 1)
        return value
    settled: Any
    # An `nn.Parameter` as well, whose gradient and attributes end here.
    if isinstance(value, Tensor):
        settled = plain(value)
    # A tuple cannot be changed: a new one is made of what stands in its place.
    elif type(value) is tuple:
        settled = tuple([_settle(item, real, done, depth + 1) for item in value])
    else:
        settled = real(value)
    # The value is kept too: its id would pass to another object.
    done[id(value)] = (value, settled)
    return settled
