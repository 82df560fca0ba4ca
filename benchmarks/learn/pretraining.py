"""What pretraining and distillation bring on real, small images: blood cells.

    python benchmarks/learn/pretraining.py --data .data --jobs 10 --out pretraining.json

Cells cut out of `bccd` are classified from scratch by each backbone, and again by the smallest with
the largest for its teacher; then Faster R-CNN learns the same cells in whole photographs, once with
random weights in its backbone and once with those of the classifier. One recipe for all; nothing is
tuned. Seconds are of processes that share a card.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Column, Table, parser, save

BACKBONES = ("vmamba_t", "mambavision_t", "mobilemamba_t2", "vim_t", "resnet50")
STUDENT, TEACHER = "mobilemamba_t2", "vmamba_t"
SCORES = dict(
    classify=("accuracy/top1", "single-label/recall"),
    distil=("accuracy/top1", "single-label/recall"),
    detect=("coco/bbox_mAP", "coco/bbox_mAP_50"),
)


def train(job: dict[str, Any], args: argparse.Namespace) -> None:
    """One run, in a process of its own; its scores go into a file."""
    from blood_cells import classifier, distilled, faster_rcnn
    from mmengine.runner import Runner

    crops = args.work_dir / "crops"
    kind, backbone = job["kind"], job["backbone"]
    runs = args.work_dir.absolute()
    if kind == "detect":
        start = None
        if job["start"] == "crops":
            start = str(runs / f"classify-{backbone}" / f"iter_{args.crops_iterations}.pth")
        cfg = faster_rcnn(backbone, args.data, args.iterations, args.workers, start)
    elif kind == "distil":
        teacher = runs / f"classify-{TEACHER}" / f"iter_{args.crops_iterations}.pth"
        cfg = distilled(backbone, TEACHER, teacher, crops, args.crops_iterations, args.workers)
    else:
        cfg = classifier(backbone, crops, args.crops_iterations, args.workers)
    cfg.work_dir = str(runs / name_of(job))
    runner = Runner.from_cfg(cfg)
    started = time.time()
    runner.train()
    scalars = runner.message_hub.log_scalars
    found = {key: float(scalars[f"val/{key}"].current()) for key in SCORES[kind]}
    loss = scalars["train/loss"].data[0]
    found |= dict(
        job,
        iterations=runner.iter,
        seconds=time.time() - started,
        last_loss=float(loss[-20:].mean()),
    )
    (runs / f"{name_of(job)}.json").write_text(json.dumps(found))


def name_of(job: dict[str, Any]) -> str:
    start = f"-{job['start']}" if job.get("start") else ""
    return f"{job['kind']}-{job['backbone']}{start}"


def run_all(jobs: list[dict[str, Any]], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Jobs beside one another, each when what it needs is there; what came of them."""
    waiting = list(jobs)
    running: dict[subprocess.Popen, dict[str, Any]] = {}
    done: set[str] = set()
    while waiting or running:
        ready = [job for job in waiting if job.get("needs", "") in done | {""}]
        for job in ready[: args.jobs - len(running)]:
            waiting.remove(job)
            running[begun(job, args)] = job
        if not running:
            print("not begun, as what they need failed:", *map(name_of, waiting))
            return
        time.sleep(0.5)
        for process in [one for one in running if one.poll() is not None]:
            job = running.pop(process)
            if process.returncode:
                print((args.work_dir / f"{name_of(job)}.log").read_text()[-1500:], flush=True)
                continue
            done.add(name_of(job))
            row = json.loads((args.work_dir / f"{name_of(job)}.json").read_text())
            print(row, flush=True)
            yield row


def begun(job: dict[str, Any], args: argparse.Namespace) -> subprocess.Popen:
    """The process of a job."""
    command = [sys.executable, __file__, "--here", json.dumps(job)]
    for flag in ("data", "work_dir", "iterations", "crops_iterations", "workers"):
        command += [f"--{flag.replace('_', '-')}", str(getattr(args, flag))]
    log = (args.work_dir / f"{name_of(job)}.log").open("w")
    environment = os.environ | dict(OMP_NUM_THREADS="1")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--data", type=Path, required=True, help="folder that holds bccd")
    flags.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    flags.add_argument("--crops-iterations", type=int, default=300, help="of a classifier")
    flags.add_argument("--iterations", type=int, default=300, help="of a detector")
    flags.add_argument("--workers", type=int, default=2)
    flags.add_argument("--jobs", type=int, default=1)
    flags.add_argument("--work-dir", type=Path, default=Path("work_dirs/pretraining"))
    flags.add_argument("--here", type=json.loads, help="used by the script itself")
    args = flags.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    if args.here:
        train(args.here, args)
        return 0
    from blood_cells import cut

    print("crops:", cut(args.data, args.work_dir / "crops"), flush=True)
    classified = Table(
        "classifiers",
        "crops of blood cells, from scratch, %",
        Column("backbone", "backbone"),
        Column("teacher", "teacher"),
        Column("top-1", "accuracy/top1", ".1f"),
        Column("balanced", "single-label/recall", ".1f"),
        Column("s", "seconds", ".0f"),
    )
    detected = Table(
        "detectors",
        "Faster R-CNN on whole photographs",
        Column("backbone", "backbone"),
        Column("begins with", "start"),
        Column("AP", "coco/bbox_mAP", ".3f"),
        Column("AP50", "coco/bbox_mAP_50", ".3f"),
        Column("s", "seconds", ".0f"),
    )
    jobs = [dict(kind="classify", backbone=one) for one in args.backbones]
    jobs += [dict(kind="detect", backbone=one, start="random") for one in args.backbones]
    jobs += [
        dict(kind="detect", backbone=one, start="crops", needs=f"classify-{one}")
        for one in args.backbones
    ]
    if TEACHER in args.backbones:
        taught = dict(kind="distil", backbone=STUDENT, teacher=TEACHER)
        jobs.append(taught | dict(needs=f"classify-{TEACHER}"))
    for row in run_all(jobs, args):
        (detected if row["kind"] == "detect" else classified).add(**row)
        save(args.out, classified, detected)
    classified.show()
    detected.show()
    return int(len(classified.rows) + len(detected.rows) < len(jobs))


if __name__ == "__main__":
    sys.exit(main())
