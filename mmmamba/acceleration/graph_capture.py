"""One size of a backbone's training forward and backward pass, captured as CUDA graphs."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import functional_call

from mmmamba.ops.routes.registry import keep_tables

logger = logging.getLogger("mmmamba")

Maps = Tensor | Sequence[Tensor]
MIB = 2**20


class GraphError(RuntimeError):
    """The backbone cannot be captured or replayed as it is used; the message says what to do."""


class GraphMemory:
    """The memory that all graphs of a backbone write their activations into.

    Each pass writes over what the last one left. So a forward pass must not be replayed while what
    the one before has kept for its backward pass may be needed.
    """

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        # Weakly: a pass that autograd has let go of has no backward pass to come.
        self._last: weakref.ref[_Pass] | None = None

    @property
    def pending(self) -> bool:
        """Whether the backward pass of the last forward pass may still come."""
        last = None if self._last is None else self._last()
        return last is not None and not last.done

    def begin(self) -> _Pass:
        """Open a new forward pass."""
        last = _Pass()
        self._last = weakref.ref(last)
        return last


class CapturedSize:
    """Replays a captured forward pass, and in autograd the captured backward pass.

    Args:
        backbone: in training mode on a GPU; its buffers and the random state are afterwards what
            they were.
        forward: its own.
        x_BCHW: images of the size to capture.
        autocast: the dtype to capture under, None for no autocast.
        memory: of this backbone's graphs.

    Raises:
        GraphError: the capture failed.
    """

    def __init__(
        self,
        backbone: nn.Module,
        forward: Callable[[Tensor], Maps],
        x_BCHW: Tensor,
        autocast: torch.dtype | None,
        memory: GraphMemory,
    ):
        # A capture takes memory from a pool of its own and cannot use the blocks that eager passes
        # left in the allocator's cache.
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        start, reserved = time.perf_counter(), torch.cuda.memory_reserved()
        # Warm-up passes before the capture move running statistics and draw random numbers.
        buffers = [buffer.clone() for buffer in backbone.buffers()]
        random = torch.cuda.get_rng_state(x_BCHW.device)
        self.parameters = [p for p in backbone.parameters() if p.requires_grad]
        self.memory = memory
        captured = capturable(backbone, forward, autocast)
        self._maps_need_grad = captured.maps_need_grad
        # Replays read route tables at the addresses they have now.
        with keep_tables() as self._tables:
            inputs = (sample(x_BCHW), *captured.stand_ins)
            self._replay = _graphed(captured.function, inputs, memory)
        # In place: the graphs read buffers at their addresses.
        with torch.no_grad():
            for buffer, kept in zip(backbone.buffers(), buffers):
                buffer.copy_(kept)
        torch.cuda.set_rng_state(random, x_BCHW.device)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        logger.info(
            "%s: CUDA graphs of %s captured in %.1f s; they hold %d MiB more",
            type(backbone).__name__,
            " x ".join(map(str, x_BCHW.shape)),
            time.perf_counter() - start,
            (torch.cuda.memory_reserved() - reserved) // MIB,
        )

    def __call__(self, x_BCHW: Tensor) -> Maps:
        # Autograd's node holds what `begin` returns, so the pass is pending until its backward pass
        # has run or its outputs are dropped.
        parameters = HandedOver.apply(self.memory.begin(), *self.parameters)
        maps = self._replay(x_BCHW.detach(), *parameters)
        # Copies, as the next replay writes into the graph's own outputs.
        if isinstance(maps, Tensor):
            return maps.clone()
        # The replay's outputs all require gradients, even those that eager mode's would not.
        copies = [
            (m if needs_grad else m.detach()).clone()
            for m, needs_grad in zip(maps, self._maps_need_grad)
        ]
        return type(maps)(copies)


class Capturable(NamedTuple):
    """A backbone's forward pass in the form that PyTorch captures."""

    function: Callable[..., Maps]
    """Takes images and the trainable parameters, one by one."""
    stand_ins: list[nn.Parameter]
    """To capture with, in the parameters' place; they share their memory.

    Autograd ties a parameter to the stream that it was first used on, for as long as any loss of
    that step is kept, and a capture must not meet another stream. Stand-ins are new to it.
    """
    maps_need_grad: list[bool]
    """Which of the maps need gradients; filled in when the function is called."""


def capturable(
    backbone: nn.Module, forward: Callable[[Tensor], Maps], autocast: torch.dtype | None
) -> Capturable:
    """Make a backbone's own forward pass a function of all that gradients go to."""
    holder = _Holder(backbone, forward)
    # The name of each is its place in the holder; `function` takes them in this order.
    trainable = {name: p for name, p in holder.named_parameters() if p.requires_grad}
    need_grad: list[bool] = []

    def function(x_BCHW: Tensor, *parameters: Tensor) -> Maps:
        # Inside, so that the backward pass is captured without it, as it runs in eager mode.
        # Its cache is off: a cast of a weight that was kept from an earlier pass would be no part
        # of the graph, which would go on reading the weight as it was.
        with torch.autocast(
            x_BCHW.device.type, autocast, autocast is not None, cache_enabled=False
        ):
            maps = functional_call(holder, dict(zip(trainable, parameters)), (x_BCHW,))
        need_grad[:] = [m.requires_grad for m in ([maps] if isinstance(maps, Tensor) else maps)]
        return maps

    stand_ins = [nn.Parameter(p.detach()) for p in trainable.values()]
    return Capturable(function, stand_ins, need_grad)


class _Holder(nn.Module):
    """Gives `functional_call` the backbone's parameters and its own forward pass."""

    def __init__(self, backbone: nn.Module, forward: Callable[[Tensor], Maps]):
        super().__init__()
        self.backbone = backbone
        self.own_forward = forward

    def forward(self, x_BCHW: Tensor) -> Maps:
        return self.own_forward(x_BCHW)


class _Pass:
    """A forward pass: autograd holds it as long as its backward pass can come."""

    done = False


class HandedOver(torch.autograd.Function):
    """Parameters on their way into a graph; on the way back gradients leave the graph's buffers.

    A gradient that autograd gets first becomes the parameter's `.grad` as it is: this would be a
    buffer of the graph, which the next replay overwrites, and to which accumulating would then add
    the buffer itself.
    """

    @staticmethod
    def forward(ctx: Any, last: _Pass, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.last = last
        # Gradients that nobody computed stay None instead of zeros.
        ctx.set_materialize_grads(False)
        return parameters

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.last.done:
            raise GraphError(
                "a second backward pass through one forward pass of a graphed backbone: the first "
                "has overwritten what it needs. Add the losses up and call backward once, or train "
                "without GraphBackboneHook"
            )
        ctx.last.done = True
        present = [g for g in gradients if g is not None]
        copies = [torch.empty_like(g) for g in present]
        if copies:
            # One kernel for all of them.
            torch._foreach_copy_(copies, present)
        left = iter(copies)
        return (None, *(None if g is None else next(left) for g in gradients))


def memory_format(x_BCHW: Tensor) -> torch.memory_format:
    """How images lie in memory; a graph reads them as those that it was captured with."""
    channels_last = x_BCHW.dim() == 4 and x_BCHW.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


def sample(x_BCHW: Tensor) -> Tensor:
    """A copy that the graph owns."""
    return x_BCHW.detach().clone(memory_format=memory_format(x_BCHW))


def _graphed(
    function: Callable[..., Maps], inputs: tuple[Tensor, ...], memory: GraphMemory
) -> Callable[..., Maps]:
    # A hook would hold activations of the capture, or compute them again outside of it.
    refused = (
        "hooks on saved tensors are in use (gradient checkpointing in or around the backbone, "
        "save_on_cpu)"
    )
    try:
        with (
            # PyTorch refuses to capture while autocast keeps casts; `function` turns it on without
            # that, for the forward pass alone.
            torch.autocast("cuda", enabled=False),
            disable_saved_tensors_hooks(refused),
            _other_threads_go_on(),
        ):
            return torch.cuda.make_graphed_callables(
                function, inputs, allow_unused_input=True, pool=memory.pool
            )
    except RuntimeError as error:
        size = " x ".join(map(str, inputs[0].shape))
        raise GraphError(
            f"the backbone's training pass over {size} could not be captured as a CUDA graph: "
            f"{error}\nTrain without GraphBackboneHook; where memory ran out, with a lower "
            "max_sizes."
        ) from error


@contextmanager
def _other_threads_go_on() -> Iterator[None]:
    """Let other threads call CUDA while a capture is under way.

    A data loader's thread that pins memory would break a capture that forbids such calls to all
    threads. `make_graphed_callables` says how strict its captures are only in the newest versions
    of PyTorch; in all of them it enters `torch.cuda.graph`.
    """
    graph = torch.cuda.graph

    def lenient(*args: Any, **options: Any) -> Any:
        return graph(*args, **options | dict(capture_error_mode="thread_local"))

    torch.cuda.graph = lenient
    try:
        yield
    finally:
        torch.cuda.graph = graph
