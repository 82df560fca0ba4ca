"""A long training run at changing sizes: memory and speed stay flat, nothing is compiled again.

    python benchmarks/endurance_gpu.py --data .data/coco_mini

`mmmamba train` on Mask R-CNN with VMamba-T, float16, short sides of 320 to 480, batch 2, 64 regions
an image: few enough that all are found from the first step on, so that training itself does not
change the memory it takes. Exit code 1 where a quarter differs from the second one by more than 2 %
in memory or 5 % in speed, or compiles a kernel. Without a GPU: a tiny model, float32, and the
memory of the process alone.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import DEVICE, MIB, Column, Table, parser, save, verdict
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from short_runs import short_config

from mmmamba.commands import main as mmmamba
from mmmamba.ops import launch

QUARTERS = 4
SIDES = range(320, 481, 32)
clock = time.perf_counter if DEVICE == "cuda" else time.process_time


class Compilations:
    """Counts kernels that Triton compiles or loads, and frames that torch.compile takes."""

    def __init__(self) -> None:
        self.kernels = 0
        if DEVICE == "cuda":
            from triton import knobs

            knobs.runtime.jit_cache_hook = self

    def __call__(self, **what: object) -> None:
        self.kernels += 1

    def total(self) -> int:
        from torch._dynamo.utils import counters

        return self.kernels + len(launch._COMPILED) + counters["frames"]["total"]


# Anew where the script is read again in one process.
@HOOKS.register_module(force=True)
class Endurance(Hook):
    """One row of measurements a quarter."""

    # After all other hooks.
    priority = "VERY_LOW"
    rows: list[dict[str, float]] = []

    def before_train(self, runner) -> None:
        self.compilations, self.shapes = Compilations(), set()
        self.times, self.live, self.losses = [], [], []
        self.start = clock()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        # Waits for the GPU.
        self.losses.append(outputs["loss"].item())
        self.times.append(1e3 * (clock() - self.start))
        self.live.append(torch.cuda.memory_allocated() / MIB if DEVICE == "cuda" else 0.0)
        height, width = (max(image.shape[i] for image in data_batch["inputs"]) for i in (1, 2))
        self.shapes.add((-(-height // 32), -(-width // 32)))
        if (runner.iter + 1) % (runner.max_iters // QUARTERS) == 0:
            self._close()
        self.start = clock()

    def _close(self) -> None:
        row = {
            "loss": statistics.median(self.losses),
            "ms a step": statistics.median(self.times),
            "process MiB": resident() / MIB,
        }
        if DEVICE == "cuda":
            row |= {
                "MiB between steps": statistics.median(self.live),
                "MiB at the peak": torch.cuda.max_memory_allocated() / MIB,
                "MiB reserved": torch.cuda.memory_reserved() / MIB,
            }
            torch.cuda.reset_peak_memory_stats()
        row |= {"compiled so far": self.compilations.total(), "sizes so far": len(self.shapes)}
        Endurance.rows.append(row)
        print(f"quarter {len(Endurance.rows)} of {QUARTERS}: {row}", flush=True)
        self.times, self.live, self.losses = [], [], []


def resident() -> int:
    """Bytes of this process in memory."""
    return next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


def misses(rows: list[dict[str, float]], memory: float, speed: float) -> list[str]:
    """What grows after the first quarter, where it may grow by so many percent after the second."""
    found = []
    for name in rows[0].keys() - {"sizes so far", "loss"}:
        compiled = name == "compiled so far"
        before = rows[0 if compiled else 1][name]
        allowed = 0.0 if compiled else speed if name == "ms a step" else memory
        for number, row in enumerate(rows[1:], 2):
            if row[name] > before * (1 + allowed / 100):
                found.append(f"{name}: {row[name]:.1f} in quarter {number}, {before:.1f} before")
    return found


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    options.add_argument("--config", default="mask_rcnn/vmamba_t_1x_coco")
    options.add_argument("--iterations", type=int, default=2000)
    options.add_argument(
        "--sides", type=int, nargs="+", default=SIDES, help="short sides of images"
    )
    options.add_argument("--batch", type=int, default=2)
    options.add_argument("--workers", type=int, default=8)
    options.add_argument("--memory", type=float, default=2.0, help="percent it may grow by")
    options.add_argument(
        "--speed", type=float, default=5.0, help="percent that a step may get longer by"
    )
    args = options.parse_args()
    scales = [(side * 4 // 3, side) for side in args.sides]
    cfg = short_config(
        args.config,
        args.data.absolute(),
        args.iterations,
        scales,
        args.batch,
        args.workers,
        sample=64,
    )
    cfg.custom_hooks = [dict(type="Endurance")]
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        cfg.dump(path := f"{folder}/config.py")
        start = time.time()
        if mmmamba(["train", path, *(["--amp"] if DEVICE == "cuda" else [])]):
            return 1
        spent = time.time() - start
    rows = Endurance.rows
    table = Table(
        "quarters",
        f"{args.iterations} iterations of {args.config} in {spent:.0f} s, batch {args.batch}, "
        f"sides {', '.join(map(str, args.sides))}",
        Column("quarter", "quarter"),
        *(Column(name, name, ".5g") for name in rows[0]),
    )
    for number, row in enumerate(rows, 1):
        table.add(quarter=number, **row)
    table.show(width=130)
    save(args.out, table, iterations=args.iterations, seconds=spent)
    return verdict(misses(rows, args.memory, args.speed), "flat")


if __name__ == "__main__":
    raise SystemExit(main())
