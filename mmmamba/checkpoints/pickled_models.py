"""Tensors out of files in which a whole model object was pickled, without its program and without running anything.

YOLO programs save so: `torch.save({"model": <DetectionModel object>, ...})`. torch's weights-only reader, which calls
nothing that is not on its list, builds a `Record` wherever the file names one of the program's classes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PROGRAM = r"ultralytics\.[\w.]+"
"""What a file must name to be taken for one that Mamba YOLO's program wrote."""

# What it may name beside: what the attributes of such models are made of. Nothing of it is imported or called. Whatever
# else a file names makes it refused.
NAMED = (
    PROGRAM,
    r"torch\.nn\.modules\.[\w.]+",
    r"timm\.[\w.]+",
    r"einops\.[\w.]+",
    r"functools\.partial",
    r"types\.SimpleNamespace",
    r"pathlib\.(Pure)?(Posix|Windows)?Path",
)


class Record:
    """What a pickled object of any class held; built from anything, it does nothing."""

    def __new__(cls, *arguments: Any) -> "Record":
        # Pickles make objects without calling __init__.
        record = super().__new__(cls)
        record.state = {}
        return record

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.state = state

    def is_module(self) -> bool:
        return all(isinstance(self.state.get(part), Mapping) for part in ("_parameters", "_buffers", "_modules"))


def foreign_names(path: Path) -> list[str]:
    """What an archive of `torch.save` names that the weights-only reader refuses."""
    return torch.serialization.get_unsafe_globals_in_checkpoint(path)


def is_pickled_model(path: Path) -> bool:
    """Whether an archive names the program's classes, and nothing that models of it are not made of."""
    names = foreign_names(path)
    return any(re.fullmatch(PROGRAM, name) for name in names) and all(map(_may_be_named, names))


def read_pickled_model(path: Path, map_location: Any) -> Any:
    """What the file holds, each module object as its state dict in float32, other objects as a `Record`.

    Raises:
        pickle.UnpicklingError: it names what no pickled model is made of.
    """
    stand_ins = [(Record, name) for name in foreign_names(path) if _may_be_named(name)]
    with torch.serialization.safe_globals(stand_ins):
        held = torch.load(path, map_location=map_location, weights_only=True)
    if not isinstance(held, Mapping):
        return _unfold(held)
    return {key: _unfold(value) for key, value in held.items()}


def _may_be_named(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in NAMED)


def _unfold(value: Any) -> Any:
    return dict(_tensors(value, "")) if isinstance(value, Record) and value.is_module() else value


def _tensors(module: Record, prefix: str) -> list[tuple[str, Tensor]]:
    """As `nn.Module.state_dict` would list them."""
    passing = module.state.get("_non_persistent_buffers_set") or ()
    own = [*module.state["_parameters"].items(),
           *((name, t) for name, t in module.state["_buffers"].items() if name not in passing)]
    found = [(prefix + name, t.detach().float() if t.is_floating_point() else t.detach())
             for name, t in own if isinstance(t, Tensor)]
    for name, child in module.state["_modules"].items():
        if isinstance(child, Record) and child.is_module():
            found += _tensors(child, f"{prefix}{name}.")
    return found
