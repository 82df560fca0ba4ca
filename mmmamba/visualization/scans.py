"""What the selective scans of a model are given, and where on the map their routes go.

The scan is one operator of `torch.library`, so a dispatch mode sees every call of it with all arguments; hooks on the
mixers say whose call it is and on which map.

Shape suffixes: B images, G sequences that one map is cut into (windows, else 1), S = B G, L positions, T steps of a
route, K routes, D channels, N states.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..layers import SS2D, BidirectionalMixer, RouteMixer, SplitMixer, TokenLayout, window_partition
from ..models.backbones.mamba_vision import WindowStage
from ..models.trunks.column import PlainBackbone
from ..models.trunks.pyramid import PyramidBackbone
from ..ops import route_table
from ..ops.selective_scan.common import ScanArgs, Walk, walk

OPERATOR = torch.ops.mmmamba.selective_scan.default
TENSORS = ("u", "delta", "A", "B", "C", "D", "bias", "index")


@dataclass(frozen=True)
class Scan:
    """One call of the scan by one mixer."""

    name: str
    """Of the mixer in the model."""
    stage: int
    """As in `out_indices`; 0 in plain columns."""
    block: int
    """Within its stage; in the order of the calls where the model is none of our backbones."""
    routes: tuple[str, ...]
    heads: int
    """Groups of channels with routes of their own; the routes are those of the first head, then of the second, …"""
    height: int
    width: int
    cells_GKT: Tensor
    """The cell of the map, row-major, at every step of a route; -1 for padding and extra tokens."""
    softplus: bool
    given: dict[str, Tensor | None]
    """The operator's tensors by their names in `TENSORS`, empty where they were not asked for."""
    output: Tensor | None

    def walk(self, route: int, sequence: int = 0) -> Walk:
        """The inputs of one route of one sequence, in the order of its steps (the walk's B and K are 1).

        Raises:
            ValueError: the tensors of this scan were not kept.
        """
        if not self.given:
            raise ValueError(
                f"the tensors of {self.name} were not kept; name it in record_scans(..., keep=[...])"
            )
        one, lane = slice(sequence, sequence + 1), slice(route, route + 1)
        g = self.given
        u = g["u"][one] if g["u"].shape[2] == 1 else g["u"][one, :, lane]
        A, D, bias, index = (
            None if g[x] is None else g[x][lane] for x in ("A", "D", "bias", "index")
        )
        args = ScanArgs(index, self.softplus, False, g["u"].dtype)
        return walk(
            u,
            *(
                g[x][one, :, lane] if x in ("delta", "B", "C") else A
                for x in ("delta", "A", "B", "C")
            ),
            D,
            bias,
            args,
        )

    def visits(self, cell: int) -> list[tuple[int, int, int]]:
        """`(sequence, route, step)` at which the routes are at a cell."""
        return [tuple(visit) for visit in (self.cells_GKT == cell).nonzero().tolist()]


@singledispatch
def _visited(mixer: nn.Module, *inputs: Any) -> tuple[tuple[str, ...], int, int, Tensor]:
    """Names of the routes, the map's height and width, and `Scan.cells_GKT`."""
    raise NotImplementedError(type(mixer))


@_visited.register
def _(mixer: SS2D, x_BHWC: Tensor):
    H, W = x_BHWC.shape[1:3]
    return mixer.routes, H, W, route_table(mixer.routes, H, W).long()[None]


@_visited.register
def _(mixer: BidirectionalMixer, x_BLC: Tensor, layout: TokenLayout | None = None):
    routes = ("row", "row_reversed")
    layout = layout or TokenLayout(1, x_BLC.shape[1])
    return (
        routes,
        layout.height,
        layout.width,
        _cells(layout, route_table(routes, 1, x_BLC.shape[1]).long()),
    )


@_visited.register
def _(mixer: RouteMixer, x_BLC: Tensor, layout: TokenLayout):
    return (
        mixer.routes,
        layout.height,
        layout.width,
        _cells(layout, mixer.order(layout, torch.device("cpu"))),
    )


@_visited.register
def _(mixer: SplitMixer, x_STC: Tensor, stage: WindowStage, x_BHWC: Tensor):
    H, W = x_BHWC.shape[1:3]
    numbers_BHWC = torch.arange(1, H * W + 1).view(1, H, W, 1)
    cells_GT = window_partition(numbers_BHWC, stage.window_size)[..., 0] - 1
    return ("row",), H, W, cells_GT[:, None]


def _cells(layout: TokenLayout, tokens_KT: Tensor) -> Tensor:
    """The cells of tokens; -1 for extra ones and holes."""
    cells_L = layout.insert(torch.arange(layout.cells), torch.full((len(layout.places),), -1), 0)
    return torch.where(tokens_KT < 0, -1, cells_L[tokens_KT.clamp(min=0)])[None]


MIXERS = (SS2D, BidirectionalMixer, RouteMixer, SplitMixer)


class _Recorder(TorchDispatchMode):
    def __init__(self, model: nn.Module, keep: Collection[str] | None):
        super().__init__()
        self.model, self.keep, self.places = model, keep, _places(model)
        self.scans: list[Scan] = []
        self.inside: list[tuple[str, nn.Module, tuple]] = []
        self.windows: tuple = ()

    def watch(self, name: str, module: nn.Module) -> list:
        if isinstance(module, WindowStage):
            return [module.register_forward_pre_hook(self._enter_windows)]
        return [
            module.register_forward_pre_hook(
                lambda m, inputs: self.inside.append((name, m, inputs))
            ),
            module.register_forward_hook(lambda *_: self.inside.pop() and None),
        ]

    def _enter_windows(self, stage: WindowStage, inputs: tuple) -> None:
        self.windows = (stage, *inputs)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is OPERATOR:
            names = [argument.name for argument in func._schema.arguments]
            self.scans.append(self._scan(dict(zip(names, args), **(kwargs or {})), result[0]))
        return result

    def _scan(self, given: dict[str, Any], output: Tensor) -> Scan:
        if not self.inside:
            raise TypeError(
                "a selective_scan runs outside the mixers whose maps are known here: "
                + ", ".join(mixer.__name__ for mixer in MIXERS)
            )
        name, mixer, inputs = self.inside[-1]
        inputs = (*inputs[:1], *self.windows) if isinstance(mixer, SplitMixer) else inputs
        routes, H, W, cells_GKT = _visited(mixer, *inputs)
        kept = self.keep is None or name in self.keep
        tensors = {x: None if given[x] is None else given[x].detach() for x in TENSORS if kept}
        return Scan(
            name,
            *self.places.get(name, (0, len(self.scans))),
            routes,
            getattr(mixer, "heads", 1),
            H,
            W,
            cells_GKT,
            given["delta_softplus"],
            tensors,
            output if kept else None,
        )


def _places(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Stage and block of the mixers of our backbones, by name."""
    if isinstance(model, PyramidBackbone):
        stages = [stage.blocks for stage in model.stages]
    else:
        stages = [model.layers] if isinstance(model, PlainBackbone) else []
    names = {module: name for name, module in model.named_modules()}
    return {
        names[module]: (i, j)
        for i, blocks in enumerate(stages)
        for j, block in enumerate(blocks)
        for module in block.modules()
        if isinstance(module, MIXERS)
    }


@torch.no_grad()
def record_scans(
    backbone: nn.Module, images: Tensor, keep: Collection[str] | None = None
) -> list[Scan]:
    """Every selective scan of `backbone(images)`, in the order of the calls; empty for a model without scans.

    Args:
        backbone: or any other module, with what it takes in place of images.
        images: `(B, 3, H, W)`.
        keep: names of the mixers whose tensors are kept; None keeps all, an empty list none (only where routes go).

    Raises:
        TypeError: a scan by a mixer whose map is not known here.
    """
    recorder = _Recorder(backbone, keep)
    with ExitStack() as hooks:
        for name, module in backbone.named_modules():
            if isinstance(module, (*MIXERS, WindowStage)):
                for handle in recorder.watch(name, module):
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

    By default the last one whose map still has a cell for every 16 pixels, or the finest there is: a map that shows
    something. A stage alone means its last scan.

    Raises:
        ValueError: no scan there, with those that there are.
    """
    if stage is None and block is None:
        fine = [s for s in scans if s.height * 16 >= image_size[0]]
        return fine[-1] if fine else scans[0]
    found = [s for s in scans if stage in (None, s.stage) and block in (None, s.block)]
    if not found:
        there = ", ".join(
            f"{i} (blocks {', '.join(str(s.block) for s in scans if s.stage == i)})"
            for i in sorted({s.stage for s in scans})
        )
        asked = " and ".join(
            f"{x} {i}" for x, i in (("stage", stage), ("block", block)) if i is not None
        )
        raise ValueError(f"there is no scan in {asked}; there are in stages {there}")
    return found[-1]
