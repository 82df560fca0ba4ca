"""CUDA graphs of whatever has a static shape in a detector, a segmentor or a backbone."""

from __future__ import annotations

import gc
import logging
import time
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmmamba.ops.autocast import autocast_dtype
from mmmamba.ops.launch import on

from .captured import Captured
from .errors import GraphError
from .function import Function
from .memory import GraphMemory
from .recording import MIB, CudaRecorder, Recorder, size_key
from .replays import give_replays, take_replays
from .sizes import AUTO_SIZES, Sizes
from .static_part import Maps, StaticPart
from .watch import State, Watch

logger = logging.getLogger("mmmamba")

SYNCED = "SyncBatchNorm's statistics travel between processes, which a graph does not capture"
SHARE = 0.5
"""Graphs may take this share of the memory that is free when the first of them is captured."""


def graph_model(model: nn.Module, graphs: int | str = "auto") -> nn.Module:
    """Have the static part of a model replayed as CUDA graphs, in training and in prediction.

    That is backbone, neck and the dense heads' convolutions of a detector or segmentor, what heads
    of ours do to choose boxes, the backbone of any other model that has one, or any module that is
    called with images alone. The results are eager mode's, bit for bit, but for the last bit of a
    bias whose gradient eager mode sums over slices of a larger tensor.

    A size of batch and images is captured when it comes again. With "auto" it is left in eager mode
    where the GPU does not wait for Python; sizes that come rarely are let go, and all graphs take
    at most half of the memory that was free. Where a pass cannot be replayed it runs in eager mode,
    and the log says why, each reason once: hooks inside the model, `with_cp`, images that require
    gradients, a forward pass before the backward pass of the one before. Heads that train with
    statistics over several processes run in eager mode behind graphs of backbone and neck, and so
    does all else behind the backbone's where the neck has such. On a CPU nothing changes.

    Settings that Python holds, such as the precision of float32 products, stay as captured.
    Parameters that only an unused output depends on get gradients of zero instead of none.

    Args:
        model: a detector of mmdet, a segmentor of mmseg, or any module that takes images alone.
        graphs: "off", "auto", or the number of sizes to hold, whether it pays or not.

    Returns:
        The same model; `ungraph_model` undoes it.

    Raises:
        ValueError: `graphs` is none of these.
        GraphError: the model is graphed already. With a number, also raised by a pass that cannot
            be captured.
    """
    check_graphs(graphs)
    if graphs == "off":
        return model
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if device.type != "cuda":
        return model
    attach(_subject(model), graphs, CudaRecorder(device))
    return model


def ungraph_model(model: nn.Module) -> nn.Module:
    """Undo `graph_model` and let the graphs' memory go; a model without graphs stays as it is."""
    graphs = _graphs_of(model)
    if graphs is not None:
        graphs.part.give_back()
        take_replays(graphs.part.model)
        graphs.log_summary()
        graphs.forget()
    return model


def check_graphs(graphs: int | str) -> None:
    """Raise ValueError where `graphs` is not "off", "auto" or a positive number."""
    number = isinstance(graphs, int) and not isinstance(graphs, bool) and graphs > 0
    if graphs not in ("off", "auto") and not number:
        raise ValueError(f"graphs is {graphs!r}, wanted 'off', 'auto' or a number of sizes")


def attach(model: nn.Module, graphs: int | str, recorder: Recorder) -> Graphs:
    """Put graphs around a model's static part, by a recorder."""
    if _graphs_of(model) is not None:
        name = type(model).__name__
        raise GraphError(f"this {name} is graphed already; ungraph_model(model) undoes it")
    give_replays(model, recorder)
    return Graphs(model, graphs, recorder)


def _subject(model: nn.Module) -> nn.Module:
    """The model itself, or its backbone.

    That is where nobody knows what else the model does with images, and where what its neck does
    cannot be captured.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        return model
    neck = getattr(model, "neck", None)
    known = callable(getattr(model, "extract_feat", None))
    return model if known and not (isinstance(neck, nn.Module) and _synced(neck)) else backbone


def _synced(module: nn.Module) -> bool:
    """Whether a module takes statistics from several processes while it trains."""
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return several and any(isinstance(part, nn.SyncBatchNorm) for part in module.modules())


def _graphs_of(model: nn.Module) -> Graphs | None:
    for module in (model, getattr(model, "backbone", None)):
        for name in ("extract_feat", "forward"):
            found = getattr(module, "__dict__", {}).get(name)
            if isinstance(found, Graphs):
                return found
    return None


class _Mode:
    """What is held for training, or for prediction."""

    def __init__(self, most: int, careful: bool):
        self.sizes = Sizes(most, careful)
        self.watch: Watch | None = None
        self.heads: list[str] = []
        self.state: State | None = None

    def look(self, part: StaticPart, heads: list[str]) -> None:
        """Watch what the static part consists of now; what was captured of another goes."""
        self.watch, self.heads = Watch(part.roots(heads), part.run_around()), heads
        self.sizes.captured.clear()
        self.state = None


class Graphs:
    """In the place of a model's `extract_feat`, or of a module's `forward`.

    Copies of the model begin without captured sizes.
    """

    def __init__(self, model: nn.Module, graphs: int | str, recorder: Recorder):
        self.name = type(model).__name__
        self.careful = graphs == "auto"
        self.most = AUTO_SIZES if isinstance(graphs, str) else graphs
        self.recorder = recorder
        self.told: set[str] = set()
        self.heads_too = True
        self.off = ""
        self.replayed = self.passes = 0
        self._begin()
        self.part = StaticPart(model, self)

    def _begin(self) -> None:
        self.modes = {mode: _Mode(self.most, self.careful) for mode in (True, False)}
        self.memory = GraphMemory(self.recorder)
        self.held = 0
        self.limit: float | None = None

    def forget(self) -> None:
        """Let the graphs go, and their memory."""
        self._begin()
        # Autograd's graphs of the captures may be left in circles.
        gc.collect()
        self.recorder.release()

    def __getstate__(self) -> dict[str, Any]:
        # Graphs hold addresses of this process's memory: a copy has to capture its own.
        own = ("modes", "memory", "held", "limit", "recorder")
        kept = {key: value for key, value in self.__dict__.items() if key not in own}
        return kept | dict(device=getattr(self.recorder, "device", None))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.recorder = CudaRecorder(state.pop("device"))
        self.__dict__.update(state)
        self._begin()

    def __call__(self, *args: Any, **kwargs: Any) -> Maps:
        # What else is given is not known to be the same in the next pass.
        if kwargs or len(args) != 1 or not isinstance(args[0], Tensor):
            return self.part.extract(*args, **kwargs)
        (x,) = args
        training = self.part.model.training
        # Passes that no graph is meant for run as ever, and the log says nothing of them.
        if training != torch.is_grad_enabled() or self.off or not self.recorder.takes(x):
            return self._eager(x)
        self.passes += 1
        mode, key = self.modes[training], size_key(x)
        found, replayed = mode.sizes.find(key), None
        if found is not None and not training and not self.memory.pending:
            # A prediction changes nothing and can be thrown away. So whether it may be replayed is
            # looked at while the device is at work.
            replayed = self._replay(found, x)
        if why := self._cannot(x, mode, training):
            return self._tell(x, why)
        mode = self.modes[training]
        if mode.sizes.captured.get(key) is not found:
            # It took something else for granted, and is gone by now.
            found = replayed = None
        if found is None and mode.sizes.wants(key):
            found = self._capture(x, key, mode, training)
        if found is None:
            return self._measured(x, key, mode)
        self.replayed += 1
        maps, outputs = self._replay(found, x) if replayed is None else replayed
        self.part.remember(maps, outputs)
        return maps

    @staticmethod
    def _replay(found: Captured, x: Tensor) -> tuple[Maps, dict[str, Any]]:
        with on(x.device):
            return found(x)

    def _eager(self, x: Tensor) -> Maps:
        maps = self.part.extract(x)
        self.part.remember(maps)
        return maps

    def _measured(self, x: Tensor, key: tuple, mode: _Mode) -> Maps:
        measured = self.recorder.begin(x)
        maps = self._eager(x)
        measured.end()
        mode.sizes.measured(key, measured)
        return maps

    def _cannot(self, x: Tensor, mode: _Mode, training: bool) -> str:
        """Why a pass is not to be replayed."""
        heads = self._heads(training)
        if mode.watch is None or heads != mode.heads:
            # Which heads take the maps shows in the first pass.
            mode.look(self.part, heads)
        assert mode.watch is not None
        if x.requires_grad:
            return "the images require gradients"
        if hooked := mode.watch.hooked():
            return f"{hooked}, which a graph would not run"
        if self.memory.pending:
            return "the backward pass of the forward pass before has not come yet"
        state = mode.watch.state()
        if training and not any(state.requires_grad):
            return "no parameter is trained"
        if mode.state is not None and state != mode.state and mode.sizes.captured:
            self._log(f"{mode.state.changes(state)}: graphs are captured anew")
            self.forget()
            mode = self.modes[training]
            mode.look(self.part, heads)
        mode.state = state
        return ""

    def _heads(self, training: bool) -> list[str]:
        """Names of the heads that are captured with the maps."""
        if not self.heads_too:
            return []
        asked = self.part.asked(training)
        synced = [name for name in asked if training and _synced(self.part.head(name))]
        if synced:
            self._log_once(SYNCED, f"behind graphs, {' and '.join(synced)} train")
        return [name for name in asked if name not in synced]

    def _capture(self, x: Tensor, key: tuple, mode: _Mode, training: bool) -> Captured | None:
        """A recording of this size, or None where there can be none."""
        assert mode.watch is not None
        if why := _refused(mode.watch, training):
            return self._give_up(why, None)
        first = self.limit is None
        if first:
            self.limit = SHARE * self.recorder.free()
        start, before = time.perf_counter(), self._reserved()
        call = partial(self.part.with_heads, mode.heads)
        function = Function(call, self.part.model, self.part.orders)
        autocast = autocast_dtype(x)
        try:
            with on(x.device):
                found = Captured(function, x, autocast, training, self.memory)
        except torch.OutOfMemoryError:
            mode.sizes.refuse(key)
            self._log(f"no memory for graphs of {_sides(x)}, which run in eager mode")
            self.recorder.release()
            return None
        except RuntimeError as error:
            return self._failed(error)
        self.held += self._reserved() - before
        if self.held > self.limit:
            mode.sizes.refuse(key)
            self._log(
                f"graphs of {_sides(x)} would bring all graphs to {self.held // MIB} MiB, more "
                f"than half of the {self.limit / SHARE / MIB:.0f} MiB that were free: such images "
                "run in eager mode"
            )
            return None
        mode.sizes.add(key, found)
        self._log_capture(x, training, first, time.perf_counter() - start)
        return found

    def _reserved(self) -> int:
        self.recorder.release()
        return self.recorder.reserved()

    def _failed(self, error: RuntimeError) -> None:
        """Go on without the heads, or without graphs; with a number of sizes, raise GraphError."""
        reason = str(error).strip().splitlines()[0]
        if self.heads_too and any(mode.heads for mode in self.modes.values()):
            self.heads_too = False
            self._log(f"its heads cannot be captured ({reason}): graphs hold backbone and neck")
            self.forget()
            return None
        return self._give_up(f"it cannot be captured ({reason})", error)

    def _give_up(self, why: str, error: RuntimeError | None) -> None:
        if not self.careful:
            raise GraphError(f"{self.name}: {why}. Run it with graphs='off'") from error
        self.off = why
        self._log(f"{why}: it runs in eager mode")
        self.forget()

    def _tell(self, x: Tensor, reason: str) -> Maps:
        """A plain pass, where a graph was to be expected; each reason is told once."""
        self._log_once(reason, "such passes run")
        return self._eager(x)

    def _log_once(self, reason: str, what: str) -> None:
        if reason not in self.told:
            self.told.add(reason)
            self._log(f"{reason}: {what} in eager mode")

    def _log_capture(self, x: Tensor, training: bool, first: bool, seconds: float) -> None:
        what = "training" if training else "prediction"
        line = (
            f"CUDA graphs of {_sides(x)} ({what}) captured in {seconds:.1f} s; all graphs hold "
            f"{self.held // MIB} MiB"
        )
        if first:
            self._log(f"{line}; further sizes are captured when they come again")
        else:
            logger.debug("%s: %s", self.name, line)

    def log_summary(self) -> None:
        """Say what graphs were good for."""
        if self.replayed:
            sizes = sum(len(mode.sizes.captured) for mode in self.modes.values())
            self._log(
                f"{self.replayed} of {self.passes} passes were replayed as CUDA graphs, of {sizes} "
                f"sizes at the end, which held {self.held // MIB} MiB"
            )

    def _log(self, line: str) -> None:
        logger.info("%s: %s", self.name, line)


def _refused(watch: Watch, training: bool) -> str:
    """Why no capture of a model could be right."""
    if training and watch.any("with_cp"):
        return "with_cp=True: what a backward pass computes again cannot be captured"
    if training and any(map(_synced, watch.roots)):
        return SYNCED
    return ""


def _sides(x: Tensor) -> str:
    return " x ".join(map(str, x.shape))
