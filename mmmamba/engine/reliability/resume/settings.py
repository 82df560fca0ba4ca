"""Settings in a checkpoint (of a group of parameters, a schedule, a grad scaler) beside a run's."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor

from ....checkpoints.storing import peculiarity
from ....printable import printable

State = Mapping[str, Any]


def setting_faults(
    held: Any, ours: State, where: str, may_lack: Collection[str] = ()
) -> Iterator[str]:
    """Settings of ours that are missing or of another kind.

    Args:
        held: what the checkpoint has.
        where: what messages call it.
        may_lack: names that the checkpoint need not have.
    """
    if not isinstance(held, Mapping):
        yield f"{where} is {kind_of(held)}, not a dictionary"
        return
    for key, wanted in ours.items():
        if key not in held:
            if key not in may_lack:
                yield f"{where} has no {key}, which {kind_of(wanted)} is wanted for"
        elif not alike(held[key], wanted):
            yield f"{where}.{key} is {kind_of(held[key])}, wanted {kind_of(wanted)}"


def alike(value: Any, wanted: Any) -> bool:
    """Whether a value from a file may stand in the place of ours.

    Both are switches, finite numbers, pairs of those, or the same kind of anything else.
    """
    if wanted is None:
        # A setting that is not set, such as `foreach`, may be.
        return value is None or isinstance(value, (bool, int, float))
    # Before numbers, as Python's truth values are integers, too.
    if isinstance(wanted, bool):
        return value is None or isinstance(value, bool)
    if _is_number_or_one_element(wanted):
        return _is_finite_number(value)
    if isinstance(wanted, (tuple, list)):
        same = isinstance(value, (tuple, list)) and len(value) == len(wanted)
        return same and all(map(alike, value, wanted))
    return type(value) is type(wanted)


def kind_of(value: Any) -> str:
    """A value in a few words: itself where it is short, its type and size otherwise."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return printable(repr(value))
    size = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    return f"a {type(value).__name__}{size}"


def _is_number_or_one_element(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float))


def _is_finite_number(value: Any) -> bool:
    """Learning rates and scales may be tensors of one element."""
    if isinstance(value, Tensor) and value.numel() == 1 and not peculiarity(value):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)
