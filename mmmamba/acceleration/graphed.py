"""Training a backbone by CUDA graphs, one for each size of images that comes again."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmmamba.ops.autocast import autocast_dtype
from mmmamba.ops.launch import on
from mmmamba.ops.recompute import unwatched

from .graph_capture import CapturedSize, GraphError, GraphMemory, Maps, memory_format

logger = logging.getLogger("mmmamba")

MAX_SIZES = 16

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def graph_backbone(backbone: nn.Module, max_sizes: int = MAX_SIZES) -> nn.Module:
    """Have training passes on a GPU replayed as CUDA graphs, without Python in between.

    The results are eager mode's.

    The first training pass over images of one shape, dtype, memory format and autocast dtype
    captures forward and backward pass; later ones replay it. Evaluation, passes without gradients
    or on a CPU, and images that require gradients themselves run as ever. So does, with a line in
    the log, a forward pass before the backward pass of the one before of that size, and any while
    modules inside the backbone have hooks.

    Each size holds memory of its own as long as the backbone is graphed: what a training pass takes
    at its peak, with the gradients of all parameters and copies of image and outputs. Sizes cannot
    share it, as one's forward pass would overwrite what another's backward pass is yet to read.

    Where parameters are frozen or freed, moved in memory, or modules switched between training and
    evaluation, graphs are captured anew. Numbers that Python holds, such as drop rates and
    momentum, stay as captured. Parameters that only an unused output depends on get gradients of
    zero instead of none.

    Args:
        backbone: any module called with images alone that returns a tensor or a tuple or list of
            tensors.
        max_sizes: further ones run in eager mode.

    Returns:
        The same backbone; `ungraph_backbone` undoes it.

    Raises:
        GraphError: it is graphed already, recomputes activations (`with_cp`), has hooks on its
            modules, or normalises over the batches of several processes. Also raised by a pass
            whose capture fails, and by a second backward pass.
        ValueError: `max_sizes` below 1.
    """
    if max_sizes < 1:
        raise ValueError(f"max_sizes is {max_sizes}, wanted 1 or more sizes to capture")
    if isinstance(backbone.__dict__.get("forward"), _GraphedForward):
        raise GraphError(
            f"this {type(backbone).__name__} is graphed already; ungraph_backbone(backbone) "
            "undoes it"
        )
    _refuse(backbone)
    if hooked := _hooked(backbone):
        raise GraphError(
            f"{type(backbone).__name__}.{hooked} has hooks, which a CUDA graph would not run: "
            "remove them, or train without GraphBackboneHook"
        )
    # On the instance, where `nn.Module` finds it before the class's own; hooks still run around it.
    backbone.forward = _GraphedForward(backbone, max_sizes)
    return backbone


def ungraph_backbone(backbone: nn.Module) -> nn.Module:
    """Give the backbone its own forward pass back and let the graphs' memory go.

    Raises:
        GraphError: it is not graphed.
    """
    graphed = backbone.__dict__.get("forward")
    if not isinstance(graphed, _GraphedForward):
        raise GraphError(f"this {type(backbone).__name__} is not graphed")
    del backbone.forward
    graphed.forget()
    return backbone


class _State(NamedTuple):
    """What a graph takes for granted, beside the images."""

    training: tuple[bool, ...]
    requires_grad: tuple[bool, ...]
    identities: tuple[int, ...]
    addresses: tuple[int, ...]


CHANGES = _State(
    "modules were switched between training and evaluation",
    "parameters were frozen or freed",
    "parameters were replaced",
    "weights or buffers were moved in memory",
)


class _GraphedForward:
    """In the place of the backbone's `forward`.

    Copies and pickles of the backbone begin without captured sizes.
    """

    def __init__(self, backbone: nn.Module, max_sizes: int):
        self.backbone, self.max_sizes = backbone, max_sizes
        self.forward: Callable[[Tensor], Maps] = backbone.forward
        self.sizes: dict[tuple, CapturedSize] = {}
        self.memory: GraphMemory | None = None
        self.state: _State | None = None
        self.told: set[str] = set()

    def forget(self) -> None:
        """Let the graphs go, and their memory."""
        self.sizes.clear()
        self.memory = None
        # make_graphed_callables leaves classes, which only a collection frees.
        gc.collect()
        torch.cuda.empty_cache()

    def __getstate__(self) -> dict[str, Any]:
        # Captured graphs hold addresses of this process's memory: a copy has to capture its own.
        return self.__dict__ | dict(sizes={}, memory=None, state=None, told=set())

    def __call__(self, x_BCHW: Tensor) -> Maps:
        # Passes that no graph is meant for run as ever, and the log says nothing of them.
        if not (self.backbone.training and torch.is_grad_enabled() and unwatched(x_BCHW)):
            return self.forward(x_BCHW)
        # Within somebody else's capture no other can begin.
        if torch.cuda.is_current_stream_capturing():
            return self.forward(x_BCHW)
        if x_BCHW.requires_grad:
            return self._eager(x_BCHW, "the images require gradients")
        if hooked := _hooked(self.backbone):
            return self._eager(x_BCHW, f"{hooked} has hooks, which a graph would not run")
        state = _state(self.backbone)
        if not any(state.requires_grad):
            return self.forward(x_BCHW)
        self._forget_if_changed(state)
        if self.memory is None:
            self.memory = GraphMemory()
        # Replaying would overwrite activations that the pending backward pass is yet to read.
        if self.memory.pending:
            return self._eager(
                x_BCHW, "the backward pass of the forward pass before has not come yet"
            )
        key = size_key(x_BCHW)
        if key not in self.sizes and len(self.sizes) >= self.max_sizes:
            return self._eager(
                x_BCHW,
                f"{self.max_sizes} sizes are captured (max_sizes), and these images have "
                f"another, {' x '.join(map(str, x_BCHW.shape))}",
            )
        with on(x_BCHW.device):
            if key not in self.sizes:
                # Once more: layers may have been converted since, or processes joined.
                _refuse(self.backbone)
                self.sizes[key] = CapturedSize(
                    self.backbone, self.forward, x_BCHW, autocast_dtype(x_BCHW), self.memory
                )
            return self.sizes[key](x_BCHW)

    def _forget_if_changed(self, state: _State) -> None:
        """Let graphs go that took something else for granted."""
        if self.sizes and state != self.state:
            changes = [change for change, old, new in zip(CHANGES, self.state, state) if old != new]
            self._log(f"{' and '.join(changes)}: graphs are captured anew")
            self.forget()
        self.state = state

    def _eager(self, x_BCHW: Tensor, reason: str) -> Maps:
        """A plain pass, where a graph was to be expected; each reason is told once."""
        # Reasons differ in the numbers behind the comma, which are no reason to tell them again.
        kind = reason.partition(",")[0]
        if kind not in self.told:
            self.told.add(kind)
            self._log(f"{reason}: such passes run in eager mode")
        return self.forward(x_BCHW)

    def _log(self, line: str) -> None:
        logger.info("%s: %s", type(self.backbone).__name__, line)


def size_key(x_BCHW: Tensor) -> tuple:
    """What one capture is good for."""
    return (
        x_BCHW.shape,
        x_BCHW.dtype,
        x_BCHW.device,
        memory_format(x_BCHW),
        autocast_dtype(x_BCHW),
    )


def _state(backbone: nn.Module) -> _State:
    # Read directly: `parameters()` and `buffers()` look for duplicates, and this runs in each step.
    modules = list(backbone.modules())
    parameters = [p for m in modules for p in m._parameters.values() if p is not None]
    buffers = [b for m in modules for b in m._buffers.values() if b is not None]
    return _State(
        tuple(m.training for m in modules),
        tuple(p.requires_grad for p in parameters),
        tuple(map(id, parameters)),
        # By address, too: `.to()` moves data while the parameter stays the same object.
        tuple(x.data_ptr() for x in (*parameters, *buffers)),
    )


def _hooked(backbone: nn.Module) -> str | None:
    """The name of a module inside with hooks. The backbone's own run around the graph."""
    for name, module in backbone.named_modules():
        if module is not backbone and any(getattr(module, kind) for kind in HOOKS):
            return name
    return None


def _refuse(backbone: nn.Module) -> None:
    """Raise GraphError where a capture could not be right."""
    name = type(backbone).__name__
    if any(getattr(m, "with_cp", False) for m in backbone.modules()):
        raise GraphError(
            f"{name} has with_cp=True, and what a backward pass computes again cannot be captured: "
            "set with_cp=False, or train without GraphBackboneHook"
        )
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if several and any(isinstance(m, nn.SyncBatchNorm) for m in backbone.modules()):
        raise GraphError(
            f"{name} has SyncBatchNorm, whose statistics travel between processes, which a CUDA "
            "graph does not capture: train without sync_bn, or without GraphBackboneHook"
        )
