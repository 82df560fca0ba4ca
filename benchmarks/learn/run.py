"""Does each family learn? Real images, from scratch, the same recipe and iterations for all.

    export DATA=../shared/data
    python benchmarks/learn/run.py --task dsb2018 --data $DATA --iterations 600 --jobs 9
    python benchmarks/learn/run.py --task camvid --data $DATA --backbone vmamba_t vmamba_t_fractal
    python benchmarks/learn/run.py --task bccd --data $DATA --minutes 8 --jobs 2 --workers 8

Every backbone trains in a process of its own, `--jobs` at a time spread over the GPUs there are;
the table comes last. Seconds are of processes that share a card, so they compare backbones only
roughly.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from budget import TimeBudget
from recipes import DETECTORS, OURS, PEERS, ROUTED, TASKS
from rich.console import Console
from rich.table import Table

import mmmamba  # noqa: F401  before mmdet and mmseg

NEVER = 10**9


def train(
    task: str,
    backbone: str,
    data: Path,
    iterations: int,
    workers: int,
    work_dir: Path,
    minutes: float | None = None,
) -> None:
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    build, keys = TASKS[task]
    cfg = build(backbone, data, iterations, workers)
    cfg.work_dir = str(work_dir / task / backbone)
    if minutes is not None:
        cfg.train_cfg.update(max_iters=NEVER, val_interval=NEVER)
        cfg.param_scheduler = None
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    start = time.time()
    if minutes is None:
        runner.train()
    else:
        runner.register_hook(TimeBudget(60 * minutes))
        runner.train()
        # Not runner.val(), which would begin the averaging of weights anew.
        runner.val_loop.run()
    seconds = time.time() - start
    scalars = runner.message_hub.log_scalars
    result = {key: float(scalars[f"val/{key}"].current()) for key in keys}
    loss = scalars["train/loss"].data[0]
    result |= dict(
        seconds=seconds,
        iterations=runner.iter,
        first_loss=float(loss[:10].mean()),
        last_loss=float(loss[-50:].mean()),
    )
    (work_dir / f"{task}-{backbone}.json").write_text(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--backbone",
        choices=[*OURS, *PEERS, *ROUTED, *DETECTORS],
        nargs="+",
        help="by default all that fit the task and walk their own routes",
    )
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument(
        "--minutes", type=float, help="train each for so long instead, and then validate"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/learn"))
    parser.add_argument(
        "--here", action="store_true", help="train in this process (one task, one backbone)"
    )
    args = parser.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    if args.here:
        train(
            args.task[0],
            args.backbone[0],
            args.data,
            args.iterations,
            args.workers,
            args.work_dir,
            args.minutes,
        )
        return
    waiting = [(task, backbone) for task in args.task for backbone in fitting(task, args)]
    running: dict[subprocess.Popen, tuple[str, str]] = {}
    gpus = max(torch.cuda.device_count(), 1)
    started = 0
    while waiting or running:
        while waiting and len(running) < args.jobs:
            task, backbone = waiting.pop(0)
            log = (args.work_dir / f"{task}-{backbone}.log").open("w")
            command = [
                sys.executable,
                __file__,
                "--here",
                "--task",
                task,
                "--backbone",
                backbone,
                "--data",
                args.data,
                "--iterations",
                args.iterations,
                "--workers",
                args.workers,
                "--work-dir",
                args.work_dir,
            ]
            command += [] if args.minutes is None else ["--minutes", args.minutes]
            environment = os.environ | dict(
                OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES=str(started % gpus)
            )
            started += 1
            process = subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, env=environment
            )
            running[process] = (task, backbone)
        time.sleep(1)
        for process in [p for p in running if p.poll() is not None]:
            task, backbone = running.pop(process)
            print(
                f"{task} {backbone}: {'done' if process.returncode == 0 else 'FAILED'}", flush=True
            )
            if process.returncode:
                print((args.work_dir / f"{task}-{backbone}.log").read_text()[-1500:], flush=True)
    for task in args.task:
        print_table(task, args)


def fitting(task: str, args: argparse.Namespace) -> list[str]:
    """Those asked for that the task takes: whole detectors for bccd, backbones for the others."""
    if task == "bccd":
        return [name for name in args.backbone or DETECTORS if name in DETECTORS]
    return [name for name in args.backbone or [*OURS, *PEERS] if name not in DETECTORS]


def print_table(task: str, args: argparse.Namespace) -> None:
    keys = TASKS[task][1]
    table = Table(
        *["backbone", *keys, "loss first", "loss last", "iterations", "seconds"],
        title=f"{task}, from scratch, {args.jobs} processes on "
        f"{torch.cuda.device_count()} x "
        f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}",
    )
    lines = []
    for backbone in fitting(task, args):
        file = args.work_dir / f"{task}-{backbone}.json"
        if not file.exists():
            table.add_row(backbone, "FAILED")
            continue
        r = json.loads(file.read_text())
        table.add_row(
            backbone,
            *(f"{r[key]:.3f}" for key in keys),
            f"{r['first_loss']:.2f}",
            f"{r['last_loss']:.2f}",
            str(r["iterations"]),
            f"{r['seconds']:.0f}",
        )
        lines.append(
            f"{task} {backbone}: "
            + ", ".join(f"{key.partition('/')[2] or key} {r[key]:.3f}" for key in keys)
            + f", {r['iterations']} iterations, {r['seconds']:.0f} s"
        )
    Console(width=140).print(table)
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
