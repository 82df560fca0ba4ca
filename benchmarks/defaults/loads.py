"""What is timed, without graphs and as it runs by default, the results of both first compared."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from common import DEVICE, GIB, NAN, clean, now
from kernels import gpu_work
from torch import Tensor, nn

from mmmamba.acceleration.graphs import graph_model, ungraph_model

WINDOW_MS, WINDOWS = 60, 10
"""A window of steps takes about so long, and the median of so many windows counts."""
FIRST = 3
"""Passes after which a size that comes again and again is captured."""
REPEATS = 0.05
"""How far eager mode may be from itself, as a part of a tensor's largest value."""
CLOSE = 2e-3
"""How far graphs may be from eager mode where that repeats itself: a sum in another order."""


class Missed(Exception):
    """Graphs do not give eager mode's results."""


def _nothing() -> None:
    return None


@dataclass
class Load:
    """A model and a pass through it that comes again and again.

    Args:
        model: what graphs are put into.
        step: the n-th pass. Returns its results, tensors or numbers.
        reset: brings the model back to where it began.
        left: what the passes left behind in the model.
        sizes: of images, that passes go through in turn.
        files: milliseconds of a step that reads its images from files, where that is measured; its
            argument says that graphs are to be captured first.
        about: more for the row.
    """

    model: nn.Module
    step: Callable[[int], Iterable[Tensor | float]]
    reset: Callable[[], None] = _nothing
    left: Callable[[], list[Tensor]] = list
    sizes: int = 1
    files: Callable[[bool], float] | None = None
    about: Callable[[], dict[str, Any]] = dict


class Begun(NamedTuple):
    """The first passes: seconds of each, last results, what is left behind, GiB at the peak."""

    seconds: list[float]
    results: list[Tensor]
    left: list[Tensor]
    gib: float


class Figures(NamedTuple):
    """A step's milliseconds on the wall and on the GPU, its kernels, and launches by the CPU."""

    ms: float
    gpu: float
    kernels: float
    launches: float


def begin(load: Load, passes: int) -> Begun:
    """Passes from the model's beginning on, each with a seed of its own."""
    load.reset()
    clean()
    seconds, results = [], []
    for n in range(passes):
        torch.manual_seed(n)
        start = now()
        answer = list(load.step(n))
        seconds.append(now() - start)
        # Those of two rounds back are of eager passes in any case, and would fill the memory.
        results = [*results, answer][-2 * load.sizes :]
    peak = torch.cuda.max_memory_reserved() / GIB if DEVICE == "cuda" else NAN
    given = [torch.as_tensor(value).detach().clone() for value in itertools.chain(*results)]
    return Begun(seconds, given, [value.clone() for value in load.left()], peak)


def time_steps(load: Load) -> Figures:
    """After the first passes. As a loop has it, the GPU is waited for at the end of a window."""
    numbers = itertools.count()

    def steps(count: int) -> float:
        start = now()
        for _ in range(count):
            load.step(next(numbers))
        return (now() - start) / count * 1e3

    around = math.ceil(WINDOW_MS / steps(2 * load.sizes))
    count = max(1, min(around, 20))
    # Whole rounds, so that windows are alike.
    count = math.ceil(count / load.sizes) * load.sizes
    windows = max(3, WINDOWS // load.sizes) if DEVICE == "cuda" else 2
    ms = statistics.median(steps(count) for _ in range(windows))
    work = gpu_work(lambda: load.step(next(numbers)), calls=max(3, load.sizes))
    return Figures(ms, work.ms or NAN, work.kernels, work.launches)


def difference(got: list[Tensor], want: list[Tensor]) -> float:
    """0 where all are equal bit for bit, else the largest, as a part of a tensor's largest value.

    What is below a hundredth of the largest of all is measured by that: the gradient of a bias
    before a batch norm, for one, is all rounding.
    """
    if [x.shape for x in got] != [x.shape for x in want]:
        return math.inf
    pairs = [(a.double(), b.double()) for a, b in zip(got, want) if not torch.equal(a, b)]
    if not pairs:
        return 0.0
    floor = 1e-2 * max(float(b.abs().max()) for b in want if b.numel())
    off = 0.0
    for a, b in pairs:
        largest = float((a - b).abs().max()) / max(float(b.abs().max()), floor, 1e-30)
        # A NaN would be lost in a comparison.
        off = max(off, largest if math.isfinite(largest) else math.inf)
    return off


def agreement(graphs: Begun, eager: Begun, again: Begun) -> str:
    """How graphs agree with eager mode, which need not repeat itself where kernels add atomically.

    Raises:
        Missed: they differ by more than eager mode does from itself.
    """
    said = []
    for what in ("results", "left"):
        want = getattr(eager, what)
        off = difference(getattr(graphs, what), want)
        itself = difference(getattr(again, what), want)
        # Whatever differs that much says nothing.
        if not (off <= max(3 * itself, CLOSE) and itself <= REPEATS):
            raise Missed(
                f"{what} with graphs differ from eager mode by {off:.1e}, eager mode from itself "
                f"by {itself:.1e}"
            )
        if off:
            said.append(f"{what} to {off:.0e}, eager mode twice to {itself:.0e}")
    return "; ".join(said) or "bit for bit"


def longest_wait(graphs: list[float], eager: list[float], sizes: int) -> float:
    """Seconds by which the first passes over one size come later with graphs, of the worst size."""
    extra = [a - b for a, b in zip(graphs, eager)]
    return max(sum(extra[n : FIRST * sizes : sizes]) for n in range(sizes))


def measure_default(load: Load) -> dict[str, Any]:
    """A row: eager mode, and graphs as they are by default.

    Raises:
        Missed: graphs give other results.
    """
    passes = (FIRST + 2) * load.sizes
    # Kernels are compiled here.
    first = begin(load, passes)
    eager = time_steps(load)
    eager_files = load.files(False) if load.files else None
    again = begin(load, passes)
    graph_model(load.model, "auto")
    graphed = begin(load, passes)
    agree = agreement(graphed, first, again)
    row = dict(equal=agree, **load.about())
    row |= time_steps(load)._asdict()
    row |= {f"eager_{key}": value for key, value in eager._asdict().items()}
    row |= dict(gib=graphed.gib, eager_gib=again.gib)
    row["memory"] = 100 * (graphed.gib / again.gib - 1)
    row["later"] = longest_wait(graphed.seconds, again.seconds, load.sizes)
    row["later_all"] = sum(graphed.seconds) - sum(again.seconds)
    if load.files:
        row |= dict(files=load.files(True), eager_files=eager_files)
    ungraph_model(load.model)
    return row


def measure_peer(load: Load) -> dict[str, Any]:
    """A row of a model that is not ours, as its authors run it."""
    begun = begin(load, (FIRST + 2) * load.sizes)
    row = dict(load.about(), **time_steps(load)._asdict(), gib=begun.gib)
    if load.files:
        row["files"] = load.files(False)
    return row


def weights_of(model: nn.Module) -> Callable[[], None]:
    """Brings the weights and statistics back that a model has now."""
    kept = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}

    def reset() -> None:
        model.load_state_dict(kept)
        model.zero_grad(set_to_none=True)

    return reset
