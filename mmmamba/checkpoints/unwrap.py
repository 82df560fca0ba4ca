"""From what a file holds to the backbone's tensors: without wrapper, prefix and detector."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from torch import Tensor

from ..printable import printable, printable_names
from .errors import CheckpointError
from .key_map import KeyMap
from .storing import plain

BACKBONE = "backbone."

# What stands beside `backbone.` in a classifier's file of mmpretrain. Anything else there makes it
# a detector or segmentor.
CLASSIFIER_PARTS = ("backbone", "head", "data_preprocessor")
ALWAYS_TRIED = ("model", "state_dict")
RAW = "ema_state_dict"
"""Where a run whose EMAHook averages weights saves the last ones: it exchanges the two."""
MOST_TENSORS = 20_000
"""Most tensors of one state dict. No backbone here has more than 1,000."""
LONGEST_NAME = 500


@dataclass(frozen=True)
class Unwrapped:
    """The backbone's tensors of a checkpoint, and where in it they stood."""

    state: dict[str, Tensor]
    under: str
    """The key they stood under; empty for a bare state dict."""
    prefix: str
    """What was taken off their names."""
    detector: bool
    """Whether the file is a whole detector or segmentor, whose backbone must be complete."""
    others: tuple[str, ...] = ()
    """Other keys of the file that hold weights, such as an average of them."""
    averaged: bool = False
    """Whether these are the averages of a run's EMAHook, beside its last weights."""


def unwrap(
    checkpoint: Mapping, key_map: KeyMap, *, key: str | None = None, prefix: str | None = None
) -> Unwrapped:
    """Finds the backbone's tensors.

    Args:
        key: the one key to look under (`model_ema`); the key map's preference if None.
        prefix: only names that start so, which is taken off; found by itself if None.

    Raises:
        CheckpointError: nothing there that is a state dict, or no name has the prefix.
    """
    under, state = _state_dict(checkpoint, key_map, key)
    averaged = under == "state_dict" and _is_state_dict(checkpoint.get(RAW))
    others = tuple(k for k, v in checkpoint.items() if under and k != under and _is_state_dict(v))
    if prefix is not None:
        taken = {
            name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)
        }
        if not taken:
            raise CheckpointError(
                f"no tensor's name starts with prefix='{prefix}'; there are {_parts(state)}."
            )
        # Without the detector's own prefix, as in `model.backbone.`, parts show beside `backbone.`.
        base = prefix.removesuffix(BACKBONE)
        beside = {
            name[len(base) :]: tensor for name, tensor in state.items() if name.startswith(base)
        }
        detector = base != prefix and _is_detector(beside)
        return Unwrapped(taken, under, prefix, detector, others, averaged)
    # As often as there are wrappers. It ends: a state dict is never empty, and names get shorter.
    off = ""
    while common := next((p for p in key_map.prefixes if all_begin_with(state, p)), None):
        state = {name[len(common) :]: tensor for name, tensor in state.items()}
        off += common
    detector = _is_detector(state)
    # All of it is the module's: no backbone is taken out of it.
    if key_map.whole:
        return Unwrapped(state, under, off, False, others, averaged)
    if inner := {n[len(BACKBONE) :]: t for n, t in state.items() if n.startswith(BACKBONE)}:
        if not detector:
            inner |= {n: t for n, t in state.items() if n.startswith(key_map.beside)}
        return Unwrapped(inner, under, off + BACKBONE, detector, others, averaged)
    return Unwrapped(state, under, off, False, others, averaged)


def _state_dict(
    checkpoint: Mapping, key_map: KeyMap, key: str | None
) -> tuple[str, dict[str, Tensor]]:
    if key is not None:
        if not _is_state_dict(checkpoint.get(key)):
            raise CheckpointError(
                f"there are no weights under key='{key}'; there are {_keys(checkpoint)}."
            )
        tensors = _tensors(checkpoint[key])
        if key == RAW:
            # The count of the hook's steps, beside names that all begin with "module.".
            tensors.pop("steps", None)
        return key, tensors
    if _is_state_dict(checkpoint):
        return "", _tensors(checkpoint)
    for candidate in dict.fromkeys((*key_map.under, *ALWAYS_TRIED)):
        if _is_state_dict(checkpoint.get(candidate)):
            return candidate, _tensors(checkpoint[candidate])
    raise CheckpointError(
        "no state dict in it: looked for names with tensors at the top and under "
        f"{', '.join(key_map.under)}; there are {_keys(checkpoint)}. "
        "If its weights stand under another key, give key=."
    )


def _is_state_dict(value: object) -> bool:
    """A dict of tensors by name. Some files have counters or version numbers among them."""
    if (
        not isinstance(value, Mapping)
        or not value
        or not all(isinstance(name, str) for name in value)
    ):
        return False
    # A whole checkpoint has few tensors at its top: they stand a level below.
    return sum(isinstance(item, Tensor) for item in value.values()) * 2 > len(value)


def _tensors(state: Mapping) -> dict[str, Tensor]:
    if len(state) > MOST_TENSORS:
        raise CheckpointError(
            f"it holds {len(state):,} tensors, "
            f"of which no network here has more than {MOST_TENSORS:,}."
        )
    if too_long := next((name for name in state if len(name) > LONGEST_NAME), None):
        raise CheckpointError(
            f"it holds a tensor named {printable(too_long)}. No network here has such names."
        )
    return {name: plain(item) for name, item in state.items() if isinstance(item, Tensor)}


def all_begin_with(names: Iterable[str], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)


def sparing(key_map: KeyMap, names: Collection[str]) -> KeyMap:
    """The key map without the prefixes that all of a network's own names have.

    These belong to the names, not to a wrapper.
    """
    wrappers = tuple(prefix for prefix in key_map.prefixes if not all_begin_with(names, prefix))
    return replace(key_map, prefixes=wrappers)


def _is_detector(state: Mapping[str, Tensor]) -> bool:
    parts = {name.split(".", 1)[0] for name in state}
    return "backbone" in parts and any(
        part not in CLASSIFIER_PARTS and not part.startswith("ema_backbone") for part in parts
    )


def _parts(state: Mapping[str, Tensor]) -> str:
    return printable_names(sorted({name.split(".", 1)[0] + "." for name in state}), 12)


def _keys(checkpoint: Mapping) -> str:
    shown = [
        f"{printable(key)} ({type(value).__name__})"
        for key, value in islice(checkpoint.items(), 12)
    ]
    return (", ".join(shown) or "no keys at all") + (" …" if len(checkpoint) > 12 else "")
