"""What the selective scans of a model are given, and where on the map their routes go.

The scan is one operator of `torch.library`, so a dispatch mode sees every call of it with all
arguments; hooks say which mixer calls, and the mixer tells where on the map it walks
(`mmmamba.layers.walk`).

Shape suffixes: B images, G sequences that one map is cut into (windows, else 1), S = B G, L
positions, T steps of a route, K routes, D channels, N states.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..layers import CutsMaps, MapWalk, Walks
from ..models.trunks.column import PlainBackbone
from ..models.trunks.pyramid import PyramidBackbone
from ..ops.selective_scan.common import ScanArgs, Walk, walk

OPERATOR = torch.ops.mmmamba.selective_scan.default
TENSORS = ("u", "delta", "A", "B", "C", "D", "bias", "index")


@dataclass(frozen=True)
class Scan:
    """One call of the scan by one mixer."""

    name: str
    """The mixer's, in the model."""
    stage: int
    """As in `out_indices`; 0 in plain columns."""
    block: int
    """Within its stage; in the order of the calls where the model is none of our backbones."""
    on_map: MapWalk
    """Where the mixer's routes go."""
    softplus: bool
    given: dict[str, Tensor | None]
    """The operator's tensors by their names in `TENSORS`, empty where they were not asked for."""
    output: Tensor | None

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the routes; those of the first head, then of the second."""
        return self.on_map.routes

    @property
    def heads(self) -> int:
        """Groups of channels with routes of their own."""
        return self.on_map.heads

    @property
    def height(self) -> int:
        """The map's."""
        return self.on_map.height

    @property
    def width(self) -> int:
        """The map's."""
        return self.on_map.width

    @property
    def cells_GKT(self) -> Tensor:
        """The cell of the map, row-major, at every step of a route; -1 for none."""
        return self.on_map.cells_GKT

    def walk(self, route: int, sequence: int = 0) -> Walk:
        """The inputs of one route of one sequence, in its steps' order (B and K are 1).

        Raises:
            ValueError: the tensors of this scan were not kept.
        """
        if not self.given:
            raise ValueError(
                f"the tensors of {self.name} were not kept; name it in "
                "record_scans(..., keep=[...])"
            )
        # Slices and not numbers, so that no axis is lost.
        one, lane = slice(sequence, sequence + 1), slice(route, route + 1)
        # Operators take each tensor for all sequences and routes; u may be one map for all routes.
        u = self._kept("u")
        shared = u.shape[2] == 1
        args = ScanArgs(self._lane("index", lane), self.softplus, False, u.dtype)
        return walk(
            u[one] if shared else u[one, :, lane],
            self._kept("delta")[one, :, lane],
            self._kept("A")[lane],
            self._kept("B")[one, :, lane],
            self._kept("C")[one, :, lane],
            self._lane("D", lane),
            self._lane("bias", lane),
            args,
        )

    def _kept(self, name: str) -> Tensor:
        """A tensor that every scan is given."""
        tensor = self.given[name]
        assert tensor is not None
        return tensor

    def _lane(self, name: str, lane: slice) -> Tensor | None:
        """One route's part of a tensor that a scan may do without."""
        tensor = self.given[name]
        return None if tensor is None else tensor[lane]

    def visits(self, cell: int) -> list[tuple[int, int, int]]:
        """`(sequence, route, step)` at which the routes are at a cell."""
        return [tuple(visit) for visit in (self.cells_GKT == cell).nonzero().tolist()]


class _Call(NamedTuple):
    """A module at work."""

    name: str
    module: nn.Module
    inputs: tuple
    named_inputs: dict[str, Any]


class _Recorder(TorchDispatchMode):
    """Collects the scans that run inside of it. Its hooks keep the modules at work on a stack."""

    def __init__(self, model: nn.Module, keep: Collection[str] | None):
        super().__init__()
        self.keep, self.places = keep, _places(model)
        self.scans: list[Scan] = []
        self.at_work: list[_Call] = []

    def watch(self, name: str, module: nn.Module) -> list:
        def enter(module: nn.Module, inputs: tuple, named_inputs: dict) -> None:
            self.at_work.append(_Call(name, module, inputs, named_inputs))

        def leave(*_: Any) -> None:
            self.at_work.pop()

        return [
            module.register_forward_pre_hook(enter, with_kwargs=True),
            module.register_forward_hook(leave),
        ]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # Below autograd and hooks: the operator comes with the arguments that the backend gets.
        result = func(*args, **(kwargs or {}))
        # A scan with gradients off, as here, is this one operator, whatever backend runs it.
        if func is OPERATOR:
            names = [argument.name for argument in func._schema.arguments]
            self.scans.append(self._scan(dict(zip(names, args), **(kwargs or {})), result[0]))
        return result

    def _scan(self, given: dict[str, Any], output: Tensor) -> Scan:
        name, on_map = self._walk()
        kept = self.keep is None or name in self.keep
        # Those of every scan of a large model would fill the memory: hence `keep`.
        tensors = {x: None if given[x] is None else given[x].detach() for x in TENSORS if kept}
        stage, block = self.places.get(name, (0, len(self.scans)))
        softplus = given["delta_softplus"]
        return Scan(name, stage, block, on_map, softplus, tensors, output if kept else None)

    def _walk(self) -> tuple[str, MapWalk]:
        """The name of the innermost mixer at work, and where on the whole map it walks."""
        # A mixer may be made of modules of its own: the innermost that tells a walk answers.
        # From the innermost module outwards.
        depth = len(self.at_work) - 1
        while depth >= 0 and not isinstance(self.at_work[depth].module, Walks):
            depth -= 1
        if depth < 0:
            raise TypeError(self._no_walk())
        name, mixer, inputs, named_inputs = self.at_work[depth]
        on_map = mixer.walk(*inputs, **named_inputs)
        if not isinstance(on_map, MapWalk):
            raise TypeError(
                f"{type(mixer).__name__}.walk returns a {type(on_map).__name__}, wanted a "
                "mmmamba.layers.MapWalk"
            )
        # From the piece that the mixer sees outwards to the map that the pieces are cut from.
        for call in reversed(self.at_work[:depth]):
            if isinstance(call.module, CutsMaps):
                on_map = call.module.walk_on_map(on_map, *call.inputs, **call.named_inputs)
        return name, on_map

    def _no_walk(self) -> str:
        where = "outside of every module"
        if self.at_work:
            innermost = self.at_work[-1]
            where = f"in '{innermost.name}', a {type(innermost.module).__name__}"
        return (
            f"a selective_scan runs {where}, and no module around it says where on the map its "
            "routes go: write a method walk() of the mixer, which takes what its forward() takes "
            "and returns a mmmamba.layers.MapWalk"
        )


def _places(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Stage and block of the mixers of our backbones, by name."""
    stages: list[Any] = []
    if isinstance(model, PyramidBackbone):
        stages = [stage.blocks for stage in model.stages]
    elif isinstance(model, PlainBackbone):
        stages = [model.layers]
    # By the object, as blocks do not know what they are called in the model.
    names = {module: name for name, module in model.named_modules()}
    places = {}
    for i, blocks in enumerate(stages):
        for j, block in enumerate(blocks):
            for module in block.modules():
                places[names[module]] = (i, j)
    return places


@torch.no_grad()
def record_scans(
    backbone: nn.Module, images: Tensor, keep: Collection[str] | None = None
) -> list[Scan]:
    """Every selective scan of `backbone(images)`, in the order of the calls.

    It is empty for a model without scans.

    Args:
        backbone: or any other module, with what it takes in place of images.
        images: `(B, 3, H, W)`.
        keep: names of the mixers whose tensors are kept; None keeps all, an empty list none (only
            where routes go).

    Raises:
        TypeError: a scan by a mixer that does not tell its walk (`mmmamba.layers.walk`).
    """
    recorder = _Recorder(backbone, keep)
    with ExitStack() as hooks:
        for name, module in backbone.named_modules():
            for handle in recorder.watch(name, module):
                # Hooks must go also where the model raises: it is the caller's.
                hooks.callback(handle.remove)
        with recorder:
            backbone(images)
    return recorder.scans


def choose_scan(
    scans: list[Scan],
    image_size: tuple[int, int],
    stage: int | None = None,
    block: int | None = None,
) -> Scan:
    """The scan of a stage and a block.

    By default the last one whose map still has a cell for every 16 pixels, or the finest there is:
    a map that shows something. A stage alone means its last scan.

    Raises:
        ValueError: no scan there, with those that there are.
    """
    if not scans:
        raise ValueError("there is no scan to choose from: the model has none")
    if stage is None and block is None:
        fine = [s for s in scans if s.height * 16 >= image_size[0]]
        # Maps only shrink along a backbone: the first is the finest.
        return fine[-1] if fine else scans[0]
    found = [s for s in scans if stage in (None, s.stage) and block in (None, s.block)]
    if found:
        return found[-1]
    blocks: dict[int, list[str]] = {}
    for scan in scans:
        blocks.setdefault(scan.stage, []).append(str(scan.block))
    there = ", ".join(f"{i} (blocks {', '.join(blocks[i])})" for i in sorted(blocks))
    wanted = {"stage": stage, "block": block}
    asked = " and ".join(f"{what} {i}" for what, i in wanted.items() if i is not None)
    raise ValueError(f"there is no scan in {asked}; there are in stages {there}")
