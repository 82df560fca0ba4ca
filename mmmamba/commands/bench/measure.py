"""Speed, memory and size of a model with random weights on made-up images."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

from ...errors import UsageError
from ...evaluation.counting import multiply_adds
from .subjects import RunBy, Subject
from .task import Task

WARM_UP = 2


@dataclass(frozen=True)
class Result:
    """What was measured; None where it could not be."""

    name: str
    parameters: int | None
    """None of a file."""
    gflops: float | None
    """Multiply-adds of one image's forward pass, in 10^9."""
    milliseconds: float | None
    """Median of a step; None if it does not fit into memory."""
    images_per_second: float | None
    peak_mib: float | None
    """The most that PyTorch had allocated on a GPU."""
    run_by: RunBy | None = None
    """What ran it, if not PyTorch."""


def measure(subject: Subject, task: Task) -> Result:
    """Warm up, then the median of calls; on a GPU each waits for its kernels.

    Raises:
        UsageError: a batch norm sees one value for each channel.
    """
    parameters = sum(p.numel() for p in subject.model.parameters())
    on_gpu = task.device.type == "cuda" and subject.run_by is None
    make_step = _training_step if task.train else _inference_step
    step = make_step(subject, task)
    try:
        # Kernels are compiled and memory is allocated on the first calls.
        for _ in range(WARM_UP):
            step()
        # Counted outside of what is timed, and before the peak is: counting has a pass of its own.
        gflops = _gflops(subject, task) if subject.run_by is None else None
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(task.device)
        # `Timer` would use one thread on the CPU if it were not told; on a GPU it waits by itself.
        timer = Timer("step()", globals={"step": step}, num_threads=torch.get_num_threads())
        seconds = timer.blocked_autorange(min_run_time=task.seconds).median
    except torch.OutOfMemoryError:
        return Result(subject.name, parameters, None, None, None, None)
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise UsageError(
                f"{subject.name} has a batch norm that cannot train on one image: --batch 2"
            ) from error
        raise
    finally:
        # Gradients of a step that failed would stay in memory while the next model is measured.
        subject.model.zero_grad(set_to_none=True)
    peak = torch.cuda.max_memory_allocated(task.device) / 2**20 if on_gpu else None
    return Result(
        subject.name,
        parameters if subject.run_by is None else None,
        gflops,
        seconds * 1e3,
        task.batch / seconds,
        peak,
        subject.run_by,
    )


def measure_each(makers: list[Callable[[], Subject]], task: Task) -> Iterator[Result]:
    """One after another, so that only one model takes memory at a time."""
    for make in makers:
        yield measure(make(), task)
        # Models hold cycles, which keep their tensors until they are collected.
        gc.collect()
        if task.device.type == "cuda":
            torch.cuda.empty_cache()


def _inference_step(subject: Subject, task: Task) -> Callable[[], None]:
    """Forward alone."""

    def step() -> None:
        with torch.inference_mode(), task.precision.context():
            subject.call()

    return step


def _training_step(subject: Subject, task: Task) -> Callable[[], None]:
    """Forward and backward, without the optimizer."""

    def step() -> None:
        with task.precision.context():
            output = subject.call()
            loss = output if isinstance(output, Tensor) else sum(x.float().mean() for x in output)
        # Outside of autocast, as PyTorch asks of the backward pass.
        loss.backward()
        subject.model.zero_grad(set_to_none=True)

    return step


def _gflops(subject: Subject, task: Task) -> float:
    """Multiply-adds of one image, in 10^9."""
    with torch.no_grad():
        counts = multiply_adds(subject.call)
    return sum(counts.values()) / task.batch
