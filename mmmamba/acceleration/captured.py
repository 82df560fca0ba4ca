"""One size of a function's forward pass, and of its backward pass, replayed as recorded."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmmamba.ops.routes.registry import keep_tables

from .casting import WeightsOfLayers, cast_together
from .errors import GraphError
from .recording import Recorder

ALIGNED = 256
"""Bytes: tensors in a buffer begin at multiples, as the allocator's do."""

Outputs = Any
"""Tensors in tuples, lists and dicts, as heads return them."""


class Pass:
    """A forward pass: autograd holds it as long as its backward pass can come."""

    done = False


class GraphMemory:
    """What all graphs of a model share.

    Each pass writes over what the last one left, so a pass must not be replayed while the backward
    pass of the one before may be needed.
    """

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self._buffers: dict[str, Tensor] = {}
        self._gradients: dict[int, Tensor] = {}
        # Weakly: a pass that autograd has let go of has no backward pass to come.
        self._last: weakref.ref[Pass] | None = None
        self.castable: dict[tuple, list[int]] = {}
        """Places of the parameters that are cast together, by mode and dtype."""

    @property
    def pending(self) -> bool:
        """Whether the backward pass of the last forward pass may still come."""
        last = None if self._last is None else self._last()
        return last is not None and not last.done

    def begin(self) -> Pass:
        """Open a new forward pass."""
        last = Pass()
        self._last = weakref.ref(last)
        return last

    def like(
        self, name: str, tensors: Sequence[Tensor], orders: Sequence[Order | None] | None = None
    ) -> list[Tensor]:
        """Tensors of these shapes, side by side in a buffer that is shared under its name.

        They lie in memory as these do, or in the orders that are given. Whoever has tensors of a
        buffer that became too small keeps that alive.
        """
        starts, end = [], 0
        for x in tensors:
            starts.append(end)
            end += -(-x.numel() * x.element_size() // ALIGNED) * ALIGNED
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < end:
            device = tensors[0].device if tensors else torch.device("cpu")
            buffer = torch.empty(end, dtype=torch.uint8, device=device)
            self._buffers[name] = buffer
        return [
            _at(buffer, start, x, order)
            for start, x, order in zip(starts, tensors, orders or [None] * len(starts))
        ]

    def gradient(self, parameter: Tensor) -> Tensor:
        """Where graphs of any size leave the gradient of a parameter."""
        key = id(parameter)
        if key not in self._gradients:
            self._gradients[key] = torch.empty_like(parameter)
        return self._gradients[key]


def _at(buffer: Tensor, start: int, like: Tensor, order: Order | None) -> Tensor:
    """A tensor of this shape in the bytes of a buffer from `start` on."""
    if like.numel() == 0:
        return torch.empty_like(like)
    # Strides of what leaves no holes; any other is laid out anew.
    strides = torch.empty_like(like, device="meta").stride()
    if order is not None:
        strides = dense_strides(like.shape, order)
    flat = buffer[start : start + like.numel() * like.element_size()].view(like.dtype)
    return flat.as_strided(like.shape, strides)


Order = tuple[int, ...]
"""Axes of a tensor from the one with the largest stride to that with the smallest."""


def order_of(x: Tensor) -> Order:
    """How a tensor lies in memory, holes aside."""
    return tuple(sorted(range(x.dim()), key=lambda axis: (-x.stride(axis), axis)))


def dense_strides(shape: Sequence[int], order: Order) -> list[int]:
    """Strides of a tensor without holes that lies in memory in this order."""
    strides, step = [1] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return strides


class Function:
    """What is to be recorded: a function of images and of all that gradients go to.

    Args:
        call: the function of images.
        module: holds the parameters and buffers that `call` uses.
        orders: how the gradients of the outputs' tensors lie in memory; None where that is unknown.
    """

    def __init__(
        self,
        call: Callable[[Tensor], Outputs],
        module: nn.Module,
        orders: Callable[[Outputs], list[Order | None]],
    ):
        self.call, self.module, self.orders = call, module, orders
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        places = {id(p): place for place, p in enumerate(self.parameters)}
        self._slots = []
        # Modules that are shared come once here: `functional_call` would leave them changed.
        for part in module.modules():
            for name, p in part._parameters.items():
                if id(p) in places:
                    self._slots.append(_Slot(part._parameters, name, places[id(p)]))

    def __call__(self, x: Tensor, tensors: Sequence[Tensor]) -> Outputs:
        """The outputs with other tensors in the parameters' places."""
        try:
            for slot in self._slots:
                slot.held[slot.name] = tensors[slot.place]
            return self.call(x)
        finally:
            for slot in self._slots:
                slot.held[slot.name] = self.parameters[slot.place]


class _Slot(NamedTuple):
    """Where a module holds a parameter, and which it is."""

    held: dict[str, Any]
    name: str
    place: int


class Captured:
    """A function over images of one size, recorded; it is called like the function.

    Args:
        function: what to record.
        x: images of the size.
        autocast: the dtype to record under, None for no autocast.
        training: record the backward pass too.
        memory: of the model's graphs.

    Raises:
        GraphError: gradients would be lost, or activations are to be computed again.
        RuntimeError: the recorder's own.
    """

    def __init__(
        self,
        function: Function,
        x: Tensor,
        autocast: torch.dtype | None,
        training: bool,
        memory: GraphMemory,
    ):
        self._function, self._memory = function, memory
        self._autocast, self._training = autocast, training
        self._device = x.device.type
        # Autograd ties a parameter to the stream that it was first used on, and a capture must not
        # meet another stream. Stand-ins share the parameters' memory and are new to it.
        self._stand_ins = [nn.Parameter(p.detach()) for p in function.parameters]
        # Inference tensors could not be written to outside of inference mode.
        with torch.inference_mode(False), torch.set_grad_enabled(training):
            (self._x,) = memory.like("images", [x])
            self._x.copy_(x)
            kept = _Kept(function.module, memory.recorder)
            try:
                # Replays read route tables at the addresses they have now.
                with (
                    keep_tables() as self._tables,
                    _nothing_recomputed(training),
                    # A backward pass is recorded as it runs in eager mode, which is without.
                    torch.autocast(self._device, enabled=False),
                ):
                    self._record(memory.recorder)
            except BaseException:
                memory.recorder.recover()
                raise
            finally:
                kept.restore()

    def _record(self, recorder: Recorder) -> None:
        recorder.prepare(self._try)
        self._run_forward = recorder.record(self._forward)
        if self._training:
            self._run_backward = recorder.record(self._backward)
            # Autograd's graph of the recording is of no more use, nor is what it holds.
            self._wanted = []

    def _try(self) -> None:
        """The pass once before it is recorded: what shapes come out, and which weights are cast."""
        key = (self._training, self._autocast)
        seen = WeightsOfLayers()
        if self._autocast is not None and key not in self._memory.castable:
            with seen:
                outputs = self._call([])
            found = [i for i, p in enumerate(self._stand_ins) if seen.found(p)]
            self._memory.castable[key] = found
        else:
            outputs = self._call(self._memory.castable.get(key, []))
        flat, self._spec = tree_flatten(outputs)
        _refuse_objects(flat)
        self._is_tensor = [isinstance(x, Tensor) for x in flat]
        self._flat = [None if isinstance(x, Tensor) else x for x in flat]
        tensors = [x for x in flat if isinstance(x, Tensor)]
        self._needs_grad = [x.requires_grad for x in tensors]
        self._outputs = self._memory.like("outputs", tensors)
        if not self._training:
            return
        wanted = [x for x in tensors if x.requires_grad]
        # In the outputs' buffer, as these have been handed on by the time of the backward pass.
        # Laid out as in eager mode, where sums are made in the order of the memory.
        orders = [
            order for order, needs in zip(self._function.orders(outputs), self._needs_grad) if needs
        ]
        self._given = self._memory.like("outputs", wanted, orders)
        _refuse_strangers(wanted, self._stand_ins)
        found_gradients = torch.autograd.grad(
            wanted, self._stand_ins, [torch.ones_like(x) for x in wanted], allow_unused=True
        )
        self._used = [i for i, g in enumerate(found_gradients) if g is not None]
        self.parameters = [self._function.parameters[i] for i in self._used]
        self._gradients = [self._memory.gradient(p) for p in self.parameters]

    def _call(self, castable: Sequence[int]) -> Outputs:
        # Autocast's own cache is off: a cast kept from an earlier pass would be no part of the
        # graph, which would go on reading the weight as it was.
        with (
            torch.set_grad_enabled(self._training),
            torch.autocast(
                self._device, self._autocast, self._autocast is not None, cache_enabled=False
            ),
        ):
            parameters: list[Tensor] = list(self._stand_ins)
            if castable:
                cast = cast_together([parameters[i] for i in castable], self._autocast)
                for place, weight in zip(castable, cast):
                    parameters[place] = weight
            return self._function(self._x, parameters)

    def _forward(self) -> None:
        castable = self._memory.castable.get((self._training, self._autocast), [])
        flat, _ = tree_flatten(self._call(castable))
        tensors = [x for x in flat if isinstance(x, Tensor)]
        with torch.no_grad():
            _copy(self._outputs, tensors)
        self._wanted = [x for x in tensors if x.requires_grad] if self._training else []

    def _backward(self) -> None:
        used = [self._stand_ins[i] for i in self._used]
        found = torch.autograd.grad(self._wanted, used, self._given)
        with torch.no_grad():
            _copy(self._gradients, found)

    def __call__(self, x: Tensor) -> Outputs:
        if self._training:
            tensors = _Replay.apply(self, self._memory.begin(), x, *self.parameters)
        else:
            tensors = self.replay(x)
        left = iter(tensors)
        flat = [next(left) if tensor else x for tensor, x in zip(self._is_tensor, self._flat)]
        return tree_unflatten(flat, self._spec)

    def replay(self, x: Tensor) -> list[Tensor]:
        """The outputs of the forward pass, in memory of their own."""
        self._x.copy_(x)
        self._run_forward()
        copies = [torch.empty_like(output) for output in self._outputs]
        _copy(copies, self._outputs)
        return copies

    def replay_backward(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """The gradients of `parameters`, in memory of their own.

        Args:
            gradients: of all outputs, None where nobody has one.
        """
        missing, there, places = [], [], []
        wanted = (g for g, needs in zip(gradients, self._needs_grad) if needs)
        for place, gradient in zip(self._given, wanted):
            if gradient is None:
                missing.append(place)
            else:
                places.append(place)
                there.append(gradient)
        if missing:
            torch._foreach_zero_(missing)
        _copy(places, there)
        self._run_backward()
        copies = [torch.empty_like(gradient) for gradient in self._gradients]
        _copy(copies, self._gradients)
        return copies

    @property
    def needs_grad(self) -> list[bool]:
        """Which of the outputs require gradients."""
        return self._needs_grad


SAVED = (
    "hooks on saved tensors are in use (gradient checkpointing in or around the model, save_on_cpu)"
)


def _nothing_recomputed(training: bool) -> AbstractContextManager:
    """Refuse hooks that would hold activations of a recording, or compute them again outside."""
    return disable_saved_tensors_hooks(SAVED) if training else nullcontext()


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """In one kernel for all, where they are laid out alike."""
    if targets:
        torch._foreach_copy_(list(targets), list(sources))


def _refuse_objects(flat: Sequence[Any]) -> None:
    """Raise GraphError where tensors may hide in an object that nobody can look into."""
    for x in flat:
        if not isinstance(x, (Tensor, int, float, str, type(None))):
            raise GraphError(
                f"a {type(x).__name__} comes out, wanted tensors, lists, tuples, dicts"
            )


def _refuse_strangers(outputs: Sequence[Tensor], stand_ins: Sequence[Tensor]) -> None:
    """Raise GraphError where gradients go to a parameter that the function was not told of."""
    known = {id(p) for p in stand_ins}
    todo = [x.grad_fn for x in outputs]
    seen = set(todo)
    while todo:
        node = todo.pop()
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in known:
            raise GraphError(
                f"gradients go to a tensor {tuple(variable.shape)} that is no parameter of what is "
                "captured"
            )
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)


class _Kept:
    """Buffers and random state, which the pass before the recording moves, to be put back."""

    def __init__(self, module: nn.Module, recorder: Recorder):
        self._recorder = recorder
        self._random = recorder.random_state()
        self._buffers = [(b, b.detach().clone()) for b in module.buffers()]

    def restore(self) -> None:
        # In place: graphs read buffers at their addresses.
        with torch.no_grad():
            for buffer, kept in self._buffers:
                buffer.copy_(kept)
        self._recorder.set_random_state(self._random)


class _Replay(torch.autograd.Function):
    """The recorded passes as one node of autograd."""

    @staticmethod
    def forward(
        ctx: Any, captured: Captured, current: Pass, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.captured, ctx.current = captured, current
        # Outputs that nobody has a gradient for give None, not a tensor of zeros.
        ctx.set_materialize_grads(False)
        outputs = captured.replay(x.detach())
        without = [y for y, needs in zip(outputs, captured.needs_grad) if not needs]
        ctx.mark_non_differentiable(*without)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.current.done:
            raise GraphError(
                "a second backward pass through one forward pass of a graphed model: the first "
                "has overwritten what it needs. Add the losses up and call backward once, or "
                "switch graphs off"
            )
        ctx.current.done = True
        return (None, None, None, *ctx.captured.replay_backward(gradients))
