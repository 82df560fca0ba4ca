"""Backbones beside mmdet's Swin-T and ResNet-50 on a CPU, one image: inference and a training pass.

    OMP_NUM_THREADS=2 python benchmarks/backbones_cpu.py [--sizes 224 512] [--rounds 10]

All four maps of random weights. First ours are held to themselves in float64 through the scan of
PyTorch's operators: maps in float32 and bfloat16, and gradients. Then every round runs each model
once in turn, so that whatever else the machine does, it does to all. A training pass is forward and
backward in float32, without the optimizer. `cpu` is the time that the process had of its cores,
which says more than the clock on a machine that is shared.
"""

from __future__ import annotations

import copy
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from common import Column, Table, parser, save, verdict
from torch import Tensor, nn

import mmmamba.detection  # isort: skip  (before mmdet: mmcv's operators)
from mmdet.models.backbones import ResNet, SwinTransformer

OURS = ("vmamba_t", "mambavision_t", "efficientvmamba_t")
PEERS: dict[str, Callable[[], nn.Module]] = {
    "swin_t (mmdet)": SwinTransformer,
    "resnet50 (mmdet)": lambda: ResNet(50),
}
PEER = "swin_t (mmdet)"
TOLERANCES = {"float32": 2e-4, "bfloat16": 0.1, "gradients": 2e-3}
"""Largest errors by the largest number of a map, or of a parameter's gradient."""
TARGETS = {"float32": 1.0, "bfloat16": 1.0, "training": 1.0}
"""What VMamba-T may take at most, in times of Swin-T."""
LOW_TARGET = 0.65
"""bfloat16 by float32."""


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return PEERS[name]() if name in PEERS else mmmamba.create_backbone(name)


def infer(model: nn.Module, x: Tensor, low: bool = False) -> tuple[Tensor, ...]:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        return model(x)


def train(model: nn.Module, x: Tensor) -> None:
    sum(m.square().mean() for m in model(x)).backward()


@contextmanager
def plain_scan():
    """Scans of PyTorch's operators."""
    os.environ["MMMAMBA_SCAN_BACKEND"] = "torch"
    try:
        yield
    finally:
        del os.environ["MMMAMBA_SCAN_BACKEND"]


def error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want).abs().max() / want.abs().max().clamp(min=1e-30))


def check(name: str) -> list[str]:
    """What is wrong with a model, on an image whose sides are no multiples of the strides."""
    # In evaluation mode, as dropped paths and a batch's own statistics would differ.
    model, x = build(name).eval(), torch.randn(1, 3, 100, 132)
    exact = copy.deepcopy(model).double()
    with plain_scan():
        wanted = infer(exact, x.double())
        train(exact, x.double())
    train(model, x)
    found = {
        "float32": max(error(*pair) for pair in zip(infer(model, x), wanted)),
        "bfloat16": max(error(*pair) for pair in zip(infer(model, x, low=True), wanted)),
        "gradients": _gradient_error(model, exact),
    }
    return [
        f"{name}: {what} differs by {found[what]:.1e}, at most {most:.0e} was wanted"
        for what, most in TOLERANCES.items()
        if not found[what] <= most
    ]


def _gradient_error(model: nn.Module, exact: nn.Module) -> float:
    """All parameters together, as single gradients may be all but zero."""
    pairs = [(p.grad.double(), q.grad) for p, q in zip(model.parameters(), exact.parameters())]
    missed = sum((got - want).square().sum() for got, want in pairs)
    return float((missed / sum(want.square().sum() for _, want in pairs)).sqrt())


@dataclass(frozen=True)
class Work:
    """A way of calling a model."""

    name: str
    training: bool
    run: Callable[[nn.Module, Tensor], object]


WORKS = (
    Work("float32", False, infer),
    Work("bfloat16", False, lambda model, x: infer(model, x, low=True)),
    Work("training", True, train),
)


def measure(models: dict[str, nn.Module], work: Work, side: int, rounds: int) -> list[dict]:
    """A row for each model: milliseconds by the wall's clock and of the cores."""
    x = torch.randn(1, 3, side, side)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for done in range(rounds + 1):
        for name, model in models.items():
            model.train(work.training)
            # The one before has emptied the caches of its weights: the same for all.
            work.run(model, x)
            wall, cpu = time.perf_counter(), time.process_time()
            work.run(model, x)
            taken = time.perf_counter() - wall, time.process_time() - cpu
            model.zero_grad(set_to_none=True)
            if done:
                spent[name].append(taken)
    rows = []
    for name, times in spent.items():
        walls, cpus = ([1e3 * pair[i] for pair in times] for i in range(2))
        rows.append(
            dict(
                size=side,
                what=work.name,
                model=name,
                ms=min(walls),
                median_ms=statistics.median(walls),
                cpu_ms=min(cpus),
                median_cpu_ms=statistics.median(cpus),
            )
        )
    return rows


def add_ratios(rows: list[dict]) -> None:
    """Each cost by the peer's, by the least time of the cores."""
    peers = {(r["size"], r["what"]): r["cpu_ms"] for r in rows if r["model"] == PEER}
    full = {(r["size"], r["model"]): r["cpu_ms"] for r in rows if r["what"] == "float32"}
    for row in rows:
        row["by_swin"] = row["cpu_ms"] / peers[row["size"], row["what"]]
        if row["what"] == "bfloat16":
            row["by_float32"] = row["cpu_ms"] / full[row["size"], row["model"]]


def missed(rows: list[dict]) -> list[str]:
    """Which of the targets for VMamba-T."""
    found = []
    for row in rows:
        if row["model"] != "vmamba_t":
            continue
        where = f"{row['what']} at {row['size']}"
        if row["by_swin"] > TARGETS[row["what"]]:
            found.append(f"{where}: {row['by_swin']:.2f} times Swin-T")
        if row.get("by_float32", 0) > LOW_TARGET:
            found.append(f"{where}: {row['by_float32']:.2f} of float32, wanted {LOW_TARGET}")
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--models", nargs="+", default=list(OURS), choices=OURS)
    options.add_argument("--sizes", nargs="+", type=int, default=[224, 512])
    options.add_argument("--rounds", type=int, default=10, help="of which the least is shown")
    options.add_argument("--no-check", action="store_true", help="time what was checked before")
    args = options.parse_args()
    # mmdet's Swin builds its grids by a call that PyTorch warns about.
    warnings.filterwarnings("ignore", message="torch.meshgrid")
    wrong = [] if args.no_check else [fault for name in args.models for fault in check(name)]
    print("\n".join(wrong) or f"checked: {', '.join(args.models)}", flush=True)
    models = {name: build(name) for name in (*args.models, *PEERS)}
    rows = []
    for side in args.sizes:
        for work in WORKS:
            rows += measure(models, work, side, args.rounds)
            print(f"{work.name} at {side} is measured", flush=True)
    add_ratios(rows)
    table = Table(
        "speed",
        "one image, milliseconds",
        Column("side", "size"),
        Column("pass", "what"),
        Column("model", "model"),
        Column("least", "ms", ".0f"),
        Column("median", "median_ms", ".0f"),
        Column("least cpu", "cpu_ms", ".0f"),
        Column("median cpu", "median_cpu_ms", ".0f"),
        Column("by Swin-T", "by_swin", ".2f"),
        Column("by float32", "by_float32", ".2f"),
    )
    for row in rows:
        table.add(**row)
    table.show()
    save(args.out, table)
    verdict(missed(rows), "VMamba-T meets its targets")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
