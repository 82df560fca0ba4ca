"""One size of a function's forward pass, and of its backward pass, replayed as recorded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmmamba.ops.routes.registry import keep_tables

from .casting import WeightsOfLayers, cast_together
from .errors import GraphError
from .function import Function, Outputs
from .memory import GraphMemory, Pass
from .recording import Recorder


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
        # A replay that comes after they were moved elsewhere reads memory that is still theirs.
        held = (*function.module.parameters(), *function.module.buffers())
        self._alive = [x.detach() for x in held]
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
        # What the try took is in the way of the memory that is recorded with.
        recorder.release()
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
        # Which of the outputs require gradients.
        self.needs_grad = [x.requires_grad for x in tensors]
        self._outputs = self._memory.like("outputs", tensors)
        if not self._training:
            return
        wanted = [x for x in tensors if x.requires_grad]
        # In the outputs' buffer, as these have been handed on by the time of the backward pass.
        # Laid out as in eager mode, where sums are made in the order of the memory.
        orders = [
            order for order, needs in zip(self._function.orders(outputs), self.needs_grad) if needs
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
        return _copies(self._outputs)

    def replay_backward(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """The gradients of `parameters`, in memory of their own.

        Args:
            gradients: of all outputs, None where nobody has one.
        """
        missing, there, places = [], [], []
        wanted = (g for g, needs in zip(gradients, self.needs_grad) if needs)
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
        return _copies(self._gradients)


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


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies in memory of their own, by one call where that is allowed."""
    if all(x.is_floating_point() for x in tensors):
        # Times one is the same bits; what it writes into is not made tensor by tensor in Python.
        return list(torch._foreach_mul(list(tensors), 1.0)) if tensors else []
    return [x.clone() for x in tensors]


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
