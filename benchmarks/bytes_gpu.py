"""Blocks of VMamba, MambaVision and Vim kernel by kernel: milliseconds beside what bytes need.

    python benchmarks/bytes_gpu.py [--cases vmamba_t] [--top 30]

Forward and backward pass in bfloat16 autocast of one block after another, on the inputs that it has
in its network. The bound of a call is the time in which the card copies its bytes: each distinct
tensor that it reads or writes once. The bound of a block is that of a single kernel for the whole
pass: its inputs, outputs and weights, and in the backward pass these and their gradients. Then the
kernels of whole training passes by name, and how long Python takes to launch one, with its own
images and with one small image, where the card never holds Python up.

Without a GPU, or with --small: small images, and the time of the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from common import DEVICE, MIB, Column, Table, clean, copy_speed, now, parser, save
from kernels import gpu_work, short_name
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from watching import Watched, autocast, tensors, watched_passes

import mmmamba

SMALL = (1, 64, 64)
CPU_SPEED = 1e7
"""Bytes a millisecond, to try the script without a GPU."""


class Case(NamedTuple):
    """A network, its images, and the blocks that are looked at, by their names."""

    model: str
    images: tuple[int, int, int]
    blocks: dict[str, str]


VSS = {f"VSS block, stage {n + 1}": f"layers.{n}.blocks.1" for n in range(3)}
WINDOWS = {
    "MambaVision, mixer": "levels.2.blocks.1",
    "MambaVision, attention": "levels.2.blocks.5",
}
CONVOLUTIONS = {"MambaVision, convolutions": "levels.1.blocks.1"}
CASES = (
    Case("vmamba_t", (8, 800, 1344), VSS),
    Case("vmamba_t", (128, 224, 224), VSS),
    Case("mambavision_t", (8, 800, 1344), WINDOWS | CONVOLUTIONS),
    Case("mambavision_t", (128, 224, 224), WINDOWS | CONVOLUTIONS),
    Case("vim_t", (128, 224, 224), {"Vim block": "layers.1"}),
    Case("vim_t", (8, 800, 1344), {"Vim block": "layers.1"}),
)
PASSES = (
    ("vmamba_t", (8, 800, 1344)),
    ("mambavision_t", (128, 224, 224)),
    ("vim_t", (128, 224, 224)),
)


def images(size: tuple[int, int, int]) -> Tensor:
    batch, height, width = size
    x = torch.randn(batch, 3, height, width, device=DEVICE)
    return x.to(memory_format=torch.channels_last)


def network(name: str, classifier: bool) -> nn.Module:
    torch.manual_seed(0)
    model = mmmamba.create_backbone(name, classifier=classifier, drop_path_rate=0.0)
    return model.to(DEVICE).train()


def inputs_of(model: nn.Module, x: Tensor, names: dict[str, str]) -> dict[str, tuple]:
    """What each of the named blocks is called with in a pass over the images."""
    caught: dict[str, tuple] = {}
    hooks = []
    for label, name in names.items():

        def keep(block: nn.Module, args: tuple, label: str = label) -> None:
            caught[label] = tree_map(_detached, args)

        hooks.append(model.get_submodule(name).register_forward_pre_hook(keep))
    with torch.no_grad(), autocast():
        model(x)
    for hook in hooks:
        hook.remove()
    return caught


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().clone().requires_grad_()
    return value


def add_block(table: Table, blocks: Table, what: dict, found: Watched, speed: float) -> None:
    """Rows of a block: its calls, and both of its passes."""
    for phase in ("forward", "backward"):
        some = [call for call in found.calls if call.phase == phase]
        total = sum(call.ms for call in some)
        for call in some:
            bound = call.size / speed
            table.add(
                **what,
                phase=phase,
                call=call.name,
                kernels=", ".join(map(short_name, call.kernels)),
                ms=call.ms,
                mib=call.size / MIB,
                bound=bound,
                over=call.ms - bound,
                times=call.ms / bound if bound else None,
                share=100 * call.ms / total,
            )
        bound = sum(call.size for call in some) / speed
        blocks.add(
            **what,
            phase=phase,
            calls=len(some),
            ms=total,
            bound=bound,
            times=total / bound,
            whole=found.whole[phase] / speed,
            explained=found.explained,
        )


def training_pass(model: nn.Module, x: Tensor) -> Callable[[], list[float]]:
    """A pass that says when it was begun, its forward pass launched, and its backward pass."""

    def run() -> list[float]:
        times = [time.perf_counter()]
        with autocast():
            loss = sum(m.float().mean() for m in tensors(model(x)))
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        model.zero_grad(set_to_none=True)
        return times

    return run


class Launching(NamedTuple):
    """Milliseconds until forward and backward pass were launched, and until all was done."""

    forward: float
    backward: float
    wall: float


def launching(run: Callable[[], list[float]], calls: int = 7) -> Launching:
    """The median of calls that begin when the card has nothing to do."""
    found = []
    for _ in range(calls):
        now()
        start, middle, end = run()
        done = now()
        found.append(Launching(middle - start, end - middle, done - start))
    found.sort(key=lambda one: one.wall)
    return Launching(*(1e3 * value for value in found[len(found) // 2]))


def measure_pass(
    passes: Table, names: Table, model: str, size: tuple, top: int, tiny: tuple
) -> None:
    """A row of a whole training pass, and rows of its kernels by name."""
    module = network(model, classifier=size[1:] == (224, 224))
    run = training_pass(module, images(size))
    for _ in range(3):
        run()
    work = gpu_work(run)
    row = dict(model=model, images=list(size), gpu=work.ms, kernels=work.kernels)
    own = launching(run)
    module.zero_grad(set_to_none=True)
    small = training_pass(module, images(tiny))
    for _ in range(2):
        small()
    host = launching(small)
    row |= own._asdict()
    row |= dict(host_forward=host.forward, host_backward=host.backward)
    if work.kernels:
        row["each"] = 1e3 * (host.forward + host.backward) / work.kernels
    passes.add(**row)
    for name, ms in work.milliseconds.most_common(top):
        share = 100 * ms / work.ms
        names.add(model=model, kernel=name, ms=ms, count=work.counts[name], share=share)


def tables() -> tuple[Table, Table, Table, Table]:
    what = (Column("images", "images"), Column("block", "block"), Column("pass", "phase"))
    calls = Table(
        "calls",
        "calls of a block, bfloat16 autocast",
        *what,
        Column("call", "call"),
        Column("kernels", "kernels"),
        Column("ms", "ms", ".3f"),
        Column("MiB", "mib", ".0f"),
        Column("bound", "bound", ".3f"),
        Column("times", "times", ".1f"),
        Column("share %", "share", ".0f"),
    )
    blocks = Table(
        "blocks",
        "blocks as a whole",
        *what,
        Column("calls", "calls"),
        Column("ms", "ms", ".3f"),
        Column("bound of the calls", "bound", ".3f"),
        Column("times", "times", ".2f"),
        Column("bound of one kernel", "whole", ".3f"),
        Column("explained %", "explained", ".0f"),
    )
    passes = Table(
        "passes",
        "whole training passes, milliseconds",
        Column("model", "model"),
        Column("images", "images"),
        Column("GPU", "gpu", ".1f"),
        Column("kernels", "kernels", ".0f"),
        Column("forward launched", "forward", ".1f"),
        Column("backward launched", "backward", ".1f"),
        Column("wall", "wall", ".1f"),
        Column("one small image: forward", "host_forward", ".1f"),
        Column("backward", "host_backward", ".1f"),
        Column("µs a kernel", "each", ".0f"),
    )
    names = Table(
        "kernels",
        "kernels of the training passes",
        Column("model", "model"),
        Column("kernel", "kernel"),
        Column("ms", "ms", ".2f"),
        Column("count", "count", ".0f"),
        Column("share %", "share", ".0f"),
    )
    return calls, blocks, passes, names


def shown(calls: Table, least: float) -> Table:
    """The calls that take at least so many percent of their pass."""
    some = Table(calls.name, f"{calls.title}, {least:g} % of a pass or more", *calls.columns)
    some.rows = [row for row in calls.rows if row["share"] >= least]
    return some


def main() -> int:
    names = sorted({case.model for case in CASES})
    options = parser(__doc__)
    options.add_argument("--cases", nargs="*", choices=names, default=names, help="blocks of these")
    options.add_argument(
        "--passes", nargs="*", choices=names, default=names, help="passes of these"
    )
    options.add_argument("--top", type=int, default=15, help="kernels of a pass that are shown")
    options.add_argument("--least", type=float, default=4, help="percent of a call that is shown")
    options.add_argument("--small", action="store_true", help="images of 64 x 64")
    args = options.parse_args()
    small = args.small or DEVICE == "cpu"
    speed = copy_speed() if DEVICE == "cuda" else CPU_SPEED
    print(f"{speed / 1e9:.2f} TB/s is the speed of a copy", flush=True)
    calls, blocks, passes, kernels = tables()
    for case in CASES:
        if case.model not in args.cases:
            continue
        size = SMALL if small else case.images
        model = network(case.model, classifier=False)
        inputs = inputs_of(model, images(size), case.blocks)
        for label, name in case.blocks.items():
            what = dict(images=list(size), block=label)
            found = watched_passes(model.get_submodule(name), inputs.pop(label))
            add_block(calls, blocks, what, found, speed)
            clean()
    shown(calls, args.least).show(width=190)
    blocks.show(width=150)
    for model, size in PASSES:
        if model in args.passes:
            whole, tiny = (SMALL, SMALL) if small else (size, (1, 224, 224))
            measure_pass(passes, kernels, model, whole, args.top, tiny)
            clean()
    kernels.show(width=170)
    passes.show(width=170)
    save(args.out, calls, blocks, passes, kernels, bytes_a_millisecond=speed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
