"""Every family trains in half precision and stays finite: 200 iterations from random weights.

    python benchmarks/half_precision_gpu.py --data .data/coco_mini

By `mmmamba train --amp`, in float16 with a dynamic loss scale and in bfloat16, the smallest
published variant of each family under a detector, all at once on one card. Exit code 1 where a run
stops, a loss or a weight is not finite at any iteration, or gradients overflowed in more than a
tenth of the steps after the scale was first low enough for one. Without a GPU: tiny models in
float32.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch
from common import DEVICE, Column, Table, parser, save, verdict
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from short_runs import short_config

from mmmamba.commands import main as mmmamba
from mmmamba.config.find import find_config
from mmmamba.models.trunks.base import MambaBackbone

CONFIGS = (
    "mask_rcnn/vmamba_t_1x_coco",
    "mask_rcnn/vmamba_v0_t_1x_coco",
    "mask_rcnn/localvmamba_t_1x_coco",
    "mask_rcnn/efficientvmamba_t_1x_coco",
    "mask_rcnn/mambavision_t_1x_coco",
    "mask_rcnn/mobilemamba_b1_1x_coco",
    "mask_rcnn/localvim_t_100e-lsj_coco",
    "cascade_mask_rcnn/vim_t_100e-lsj_coco",
    "mamba_yolo/mamba_yolo_t_300e_coco",
)
DTYPES = ("float16", "bfloat16")
SCALES = [(320, 240), (384, 288), (427, 320)]
SKIPPED = 0.1


# Anew where the script is read again in one process.
@HOOKS.register_module(force=True)
class Finite(Hook):
    """Losses of all iterations, and those steps that a grad scaler left out."""

    # After all other hooks.
    priority = "VERY_LOW"
    losses: list[float] = []
    weights: list[bool] = []
    skipped, before_the_first = 0, 0
    scale = 1.0

    def before_train(self, runner) -> None:
        self.parameters = [p for p in runner.model.parameters() if p.requires_grad]
        Finite.losses, Finite.weights, Finite.skipped, Finite.before_the_first = [], [], 0, 0
        Finite.scale = self._scale(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        Finite.losses.append(outputs["loss"].item())
        largest = torch.stack(torch._foreach_norm(self.parameters, torch.inf))
        Finite.weights.append(bool(largest.isfinite().all()))
        before, Finite.scale = Finite.scale, self._scale(runner)
        Finite.skipped += Finite.scale < before
        if Finite.skipped == len(Finite.losses):
            Finite.before_the_first = Finite.skipped

    @staticmethod
    def _scale(runner) -> float:
        scaler = getattr(runner.optim_wrapper, "loss_scaler", None)
        return 1.0 if scaler is None else scaler.get_scale()


def run(name: str, dtype: str, data: Path, iterations: int) -> dict[str, object]:
    """Train in this process."""
    cfg = short_config(name, data, iterations, SCALES, batch=2, workers=0, sample=128)
    cfg.custom_hooks = [dict(type="Finite")]
    if DEVICE == "cuda":
        cfg.optim_wrapper.dtype = dtype
    if "window_size" in cfg.model.backbone:
        # Those of the config are made for 800 x 1333: on these images they would be little but
        # padding.
        cfg.model.backbone.window_size = (8, 8, 14, 7)
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        cfg.dump(path := f"{folder}/config.py")
        code = mmmamba(["train", path, *(["--amp"] if DEVICE == "cuda" else [])])
    finite = all(map(math.isfinite, Finite.losses)) and all(Finite.weights)
    tenth = max(iterations // 10, 1)
    first, last = (sum(part) / tenth for part in (Finite.losses[:tenth], Finite.losses[-tenth:]))
    few = Finite.skipped - Finite.before_the_first <= SKIPPED * iterations
    return dict(
        steps=len(Finite.losses),
        first=first,
        last=last,
        skipped=Finite.skipped,
        before_the_first=Finite.before_the_first,
        scale=Finite.scale,
        ok=code == 0 and len(Finite.losses) == iterations and finite and few,
    )


def in_a_process(name: str, args: argparse.Namespace) -> tuple[int, str]:
    """The runs of a config, one after the other.

    Exit code, and output with a line of JSON for each.
    """
    command = [
        sys.executable,
        __file__,
        "--data",
        str(args.data),
        "--iterations",
        str(args.iterations),
        "--dtypes",
        *args.dtypes,
        "--in-this-process",
        name,
    ]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stdout


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    options.add_argument("--iterations", type=int, default=200)
    options.add_argument("--configs", nargs="+", default=CONFIGS)
    options.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    options.add_argument("--jobs", type=int, default=len(CONFIGS), help="processes at once")
    options.add_argument("--in-this-process", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.in_this_process:
        for dtype in args.dtypes:
            result = run(args.in_this_process, dtype, args.data.absolute(), args.iterations)
            print("RESULT", json.dumps(dict(result, dtype=dtype)), flush=True)
        return 0
    families = {family.__name__ for family in MambaBackbone.families()}
    covered = {Config.fromfile(find_config(name)).model.backbone.type for name in args.configs}
    table = Table(
        "runs",
        f"batch 2, {args.iterations} iterations{'' if DEVICE == 'cuda' else ', float32'}",
        Column("config", "config"),
        Column("type", "dtype"),
        Column("steps", "steps"),
        Column("loss: first tenth", "first", ".3f"),
        Column("last tenth", "last", ".3f"),
        Column("left out: first", "before_the_first"),
        Column("later", "later"),
        Column("last scale", "scale", "g"),
        Column("finite", "ok"),
    )
    missed = []
    with ThreadPoolExecutor(args.jobs) as pool:
        running = {pool.submit(in_a_process, name, args): name for name in args.configs}
        for done in as_completed(running):
            name, (code, output) = running[done], done.result()
            results = results_of(output)
            for one in results:
                # A table comes last, which a run that is cut off does not reach.
                print(name, one, flush=True)
                later = one["skipped"] - one["before_the_first"]
                table.add(config=name, later=later, **one)
            if code or len(results) < len(args.dtypes) or not all(one["ok"] for one in results):
                missed.append(name)
                print(f"{name} FAILED, exit code {code}:", output[-3000:], sep="\n", flush=True)
    table.show(width=130)
    save(args.out, table, iterations=args.iterations)
    missed += [f"no config for {family}" for family in sorted(families - covered)]
    return verdict(sorted(missed), "all of these stay finite")


def results_of(output: str) -> list[dict]:
    """The lines of JSON in what a process printed."""
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    return [json.loads(line.split(" ", 1)[1]) for line in lines]


if __name__ == "__main__":
    raise SystemExit(main())
