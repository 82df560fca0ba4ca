"""Tensors out of files in which a whole model object was pickled.

YOLO programs save so: `torch.save({"model": <DetectionModel object>, ...})`. The program is not
needed and nothing of the file is run: torch's weights-only reader, which calls nothing that is not
on its list, builds a `Record` wherever the file names one of the program's classes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .held import Globals
from .pickle_bounds import RefusedPickleError
from .storing import plain
from .unwrap import LONGEST_NAME, MOST_TENSORS

PROGRAM = r"ultralytics\.[\w.]+"
"""What a file must name to be taken for one that Mamba YOLO's program wrote."""

# What it may name beside: what the attributes of such models are made of. Nothing of it is imported
# or called. Whatever else a file names makes it refused.
NAMED = (
    PROGRAM,
    r"torch\.nn\.modules\.[\w.]+",
    r"timm\.[\w.]+",
    r"einops\.[\w.]+",
    r"functools\.partial",
    r"types\.SimpleNamespace",
    r"pathlib\.(Pure)?(Posix|Windows)?Path",
)

ROOM_PER_BYTE, FREE_ROOM = 8, 1 << 20
"""Bytes that the tensors may take."""


class Record:
    """What a pickled object of any class held; built from anything, it does nothing."""

    state: Mapping[str, Any]

    def __new__(cls, *arguments: Any) -> "Record":
        # Pickles make objects without calling __init__.
        record = super().__new__(cls)
        # Set here, because not every pickle gives an object a state afterwards.
        record.state = {}
        return record

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.state = state

    def is_module(self) -> bool:
        return all(
            isinstance(self.state.get(part), Mapping)
            for part in ("_parameters", "_buffers", "_modules")
        )


def foreign_names(path: Path) -> list[str]:
    """What an archive of `torch.save` names that the weights-only reader refuses."""
    return torch.serialization.get_unsafe_globals_in_checkpoint(path)


def is_pickled_model(path: Path) -> bool:
    """Whether an archive names the program's classes, and else only what its models are made of."""
    # The classes that stand on the reader's list already are not among the names.
    names = foreign_names(path)
    return any(re.fullmatch(PROGRAM, name) for name in names) and all(map(_may_be_named, names))


def read_pickled_model(path: Path, map_location: Any) -> Any:
    """What the file holds: module objects as state dicts in float32, other objects as a `Record`.

    Raises:
        pickle.UnpicklingError: it names what no pickled model is made of.
        RefusedPickleError: its modules or tensors are far larger than the file.
    """
    stand_ins: Globals = [(Record, name) for name in foreign_names(path) if _may_be_named(name)]
    with torch.serialization.safe_globals(stand_ins):
        held = torch.load(path, map_location=map_location, weights_only=True)
    # In half precision a file's tensors are twice its size in float32. Some share their content.
    room = ROOM_PER_BYTE * path.stat().st_size + FREE_ROOM
    if not isinstance(held, Mapping):
        return _unfold(held, room)
    # Entries that are no module, such as the program's options, stay what they are.
    return {key: _unfold(value, room) for key, value in held.items()}


def _may_be_named(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in NAMED)


def _unfold(value: Any, room: int) -> Any:
    return _Tensors(room).of(value) if isinstance(value, Record) and value.is_module() else value


class _Tensors:
    """The tensors of modules by name, as `nn.Module.state_dict` would list them.

    Each module is gone through once.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.done: dict[int, dict[str, Tensor]] = {}
        self.read: dict[int, Tensor] = {}
        self.above: set[int] = set()

    def of(self, module: Record) -> dict[str, Tensor]:
        """The tensors of one module and of those below it.

        Raises:
            RefusedPickleError: it holds itself, or the modules hold one another so often that there
                is no end of names.
        """
        if id(module) in self.done:
            return self.done[id(module)]
        # A module met again is shared if it is in `done`, a circle if it is still being read.
        if id(module) in self.above:
            raise RefusedPickleError("it holds a module that holds itself")
        self.above.add(id(module))
        # Buffers that `state_dict` leaves out, too.
        passing = module.state.get("_non_persistent_buffers_set") or ()
        own = [
            *module.state["_parameters"].items(),
            *((name, t) for name, t in module.state["_buffers"].items() if name not in passing),
        ]
        found = {name: self.plain(t) for name, t in own if isinstance(t, Tensor)}
        for prefix, child in module.state["_modules"].items():
            if isinstance(child, Record) and child.is_module():
                found |= {f"{prefix}.{name}": t for name, t in self.of(child).items()}
                # After each child: shared modules double the names with every level.
                self.check(found, prefix)
        self.above.remove(id(module))
        self.done[id(module)] = found
        return found

    def plain(self, tensor: Tensor) -> Tensor:
        """In float32 if it is floating point."""
        if id(tensor) not in self.read:
            bare = plain(tensor)
            # Before it is made: a tensor with strides of 0 claims any size over a few bytes.
            self.room -= bare.numel() * 4
            if self.room < 0:
                raise RefusedPickleError("its tensors claim to be far larger than the file")
            self.read[id(tensor)] = bare.float() if bare.is_floating_point() else bare
        return self.read[id(tensor)]

    def check(self, found: dict[str, Tensor], last: Any) -> None:
        if len(found) > MOST_TENSORS or len(str(last)) > LONGEST_NAME:
            raise RefusedPickleError(
                "its modules hold one another so often that there are more than "
                f"{MOST_TENSORS:,} tensors, or have names of more than {LONGEST_NAME} characters"
            )
