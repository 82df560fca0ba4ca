"""How training scales over the GPUs of a machine: images a second of one model on 1, 2, 4, 8 cards.

    python benchmarks/scaling_gpu.py --data .data/coco_mini --gpus 1 2

Mask R-CNN with VMamba-T, 2 and 4 real images of 1333 x 800 a card in their changing sizes, and
UperNet with MambaVision-B, 4 images of 512 x 512 a card: whole steps with every loss read, from
images in memory, bfloat16 autocast, AdamW, with CUDA graphs as by default and without. Each number
of cards is a `torchrun` of its own. Before anything is timed, the gradients that the processes
agree on must be the mean of those of their batches in one process. "apart" is the same step where
nothing is exchanged, "in step" where the processes wait for each other after every step and
exchange nothing else: what it takes longer is for images of unequal sizes. Efficiency is images a
second by those of as many single cards. Without GPUs: gloo, smaller heads and images. Exit code 1
where efficiency at the most cards with 4 images each is below the target. What 8, 16 and 64 cards
would do by the model of `projection.py` is in a table of its own.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, NAN, ROOT, Column, Table, clean, parser, peak_gib, save, verdict
from ddp_gpu import TOLERANCE, check, distribute
from kernels import gpu_work
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from processes import Processes, join, tell
from projection import projected
from torch import distributed
from training_step_gpu import build, load_config, some_batches, step, time_steps

from mmmamba.acceleration.graphs import graph_model

CASES = {"mask_rcnn, 2": ("mmdet", 2), "mask_rcnn, 4": ("mmdet", 4), "upernet, 4": ("mmseg", 4)}
"""Library and images a card."""
UPERNET = ROOT / "configs/upernet/mambavision_b_160k_ade20k-512x512.py"
WANTED = 0.95
WANTED_AT = 4
"""Images a card for which it is wanted."""
SIZES = 6
"""Batches of each process, which come again and again."""
OFTEN = 3
"""After a size came so often it is captured."""


def upernet(args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(UPERNET)
    cfg.model.backbone.init_cfg = None
    if DEVICE == "cuda":
        cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype="bfloat16")
    else:
        cfg.optim_wrapper.type = "OptimWrapper"
        cfg.model.backbone.update(arch="mambavision_t", window_size=(8, 8, 2, 2))
        for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
            head.update(channels=16)
        widths = [80, 160, 320, 640]
        cfg.model.decode_head.in_channels = widths
        cfg.model.auxiliary_head.in_channels = widths[2]
        cfg.model.data_preprocessor.size = (args.side, args.side)
    return cfg


def drawn_batches(side: int, batch: int, count: int) -> Iterator[dict]:
    """Images of noise, labels of blocks."""
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        images, samples = [], []
        for _ in range(batch):
            images.append(torch.randint(256, (3, side, side), generator=generator).byte())
            coarse = torch.randint(150, (1, side // 16, side // 16), generator=generator)
            label = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
            sample = SegDataSample(metainfo=dict(img_shape=(side, side), ori_shape=(side, side)))
            sample.gt_sem_seg = PixelData(data=label)
            samples.append(sample)
        yield dict(inputs=images, data_samples=samples)


def prepare(case: str, args: argparse.Namespace, world: int) -> tuple[Config, list[dict]]:
    """The config, and batches for all processes.

    To be called before the processes know of each other: samplers would give each its share.
    """
    library, args.batch = CASES[case]
    init_default_scope(library)
    if library == "mmseg":
        return upernet(args), list(drawn_batches(args.side, args.batch, SIZES * world))
    cfg = load_config("ours, VMamba-T", args)
    return cfg, some_batches(cfg, SIZES * world)


def measure(cfg: Config, batches: list[dict], steps: int, graphs: str) -> dict[str, float]:
    """Milliseconds of a step alone and together, those of NCCL's kernels, GiB at the peak."""
    row = {}
    for name in ("apart", "ms") if distributed.get_world_size() > 1 else ("ms",):
        clean()
        model, wrapper = build(cfg)
        if name == "apart" or DEVICE == "cpu":
            # Its statistics would be exchanged, which PyTorch does on GPUs alone.
            model = revert_sync_batchnorm(model)
        graph_model(model, graphs)
        run = partial(step, model if name == "apart" else distribute(model), wrapper)
        row[name] = time_steps(run, cycle(batches), OFTEN * len(batches), steps)
        if name == "apart":
            row["in_step"] = time_steps(in_step(run), cycle(batches), 0, steps)
        else:
            row["gib"] = peak_gib()
            row["parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
            row["nccl"] = nccl_ms(run, batches)
        del model, wrapper, run
    return row


def in_step(run: Callable[[dict], object]) -> Callable[[dict], None]:
    """A step after which the processes wait for each other."""
    token = torch.zeros(1, device=DEVICE)

    def run_and_wait(batch: dict) -> None:
        run(batch)
        distributed.all_reduce(token)

    return run_and_wait


def nccl_ms(run: Callable[[dict], object], batches: list[dict]) -> float:
    endless = cycle(batches)
    work = gpu_work(lambda: run(next(endless)), calls=len(batches))
    return sum(ms for name, ms in work.milliseconds.items() if "nccl" in name.lower())


def worker(args: argparse.Namespace) -> None:
    """One of the processes: rank 0 writes a line for each row."""
    MMLogger.get_instance("benchmark", log_level="ERROR")
    world = int(os.environ["WORLD_SIZE"])
    given = {case: prepare(case, args, world) for case in args.cases}
    rank, _ = join()
    for case, (cfg, batches) in given.items():
        init_default_scope(CASES[case][0])
        if world > 1:
            halves = [{k: part[:1] for k, part in batch.items()} for batch in batches[:world]]
            off, *_ = check(cfg, halves if "mask" in case else batches[:world], graphs=False)
            if not off <= TOLERANCE:
                raise SystemExit(f"{case}: gradients differ by {off:.1e} on {world}: not timed")
        for graphs in ("off", "auto"):
            if DEVICE == "cpu" and graphs == "auto":
                continue
            distributed.barrier()
            row = measure(cfg, batches[rank::world], args.steps, graphs)
            times = ("ms", "apart", "in_step")
            slowest = torch.tensor([row.get(name, NAN) for name in times], device=DEVICE)
            distributed.all_reduce(slowest, distributed.ReduceOp.MAX)
            # One process has nobody to wait for.
            row |= {name: ms for name, ms in zip(times, slowest.tolist()) if ms == ms}
            if rank == 0:
                tell(dict(case=case, graphs=graphs, gpus=world, images=CASES[case][1], **row))
    distributed.barrier()
    distributed.destroy_process_group()


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    options.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 4, 8])
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--scale", type=int, nargs=2, default=(1333, 800))
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--steps", type=int, default=24)
    options.add_argument("--worker", action="store_true", help="be one of the processes")
    args = options.parse_args()
    args.scale = tuple(args.scale)
    if args.worker:
        worker(args)
        return 0
    table = Table(
        "scaling",
        "whole training steps, bfloat16",
        Column("case, images a card", "case"),
        Column("graphs", "graphs"),
        Column("cards", "gpus"),
        Column("images a second", "speed", ".1f"),
        Column("efficiency", "efficiency", ".3f"),
        Column("ms a step", "ms", ".1f"),
        Column("apart, ms", "apart", ".1f"),
        Column("in step, ms", "in_step", ".1f"),
        Column("NCCL, ms", "nccl", ".1f"),
        Column("GiB a card", "gib", ".1f"),
    )
    alone: dict[tuple[str, str], float] = {}
    failed: list[str] = []
    for gpus in sorted(args.gpus):
        given = ["--data", args.data, "--steps", args.steps, "--side", args.side, "--scale"]
        given += [*args.scale, "--cases", *args.cases]
        processes = Processes(gpus, __file__, "--worker", *given)
        for row in processes:
            kind = row["case"], row["graphs"]
            if gpus == 1:
                alone[kind] = row["ms"]
            row["speed"] = 1e3 * gpus * row["images"] / row["ms"]
            row["efficiency"] = alone.get(kind, NAN) / row["ms"]
            table.add(**row)
            print({k: v if isinstance(v, str) else round(v, 3) for k, v in row.items()}, flush=True)
            save(args.out, table)
        if processes.code:
            failed.append(f"{gpus} cards ended with {processes.code}")
    table.show(150)
    later = Table(
        "projection",
        "no measurement: by the model of projection.py",
        Column("case, images a card", "case"),
        Column("cards", "gpus"),
        Column("waiting, ms", "waiting", ".1f"),
        Column("exchange, ms", "exchange", ".1f"),
        Column("ms a step", "ms", ".1f"),
        Column("images a second", "speed", ".0f"),
        Column("efficiency", "efficiency", ".3f"),
    )
    for row in projected(table.rows):
        later.add(**row)
    later.show()
    save(args.out, table, later)
    return verdict([*failed, *missed(table.rows)], "scales as wanted")


def missed(rows: list[dict[str, Any]]) -> list[str]:
    if DEVICE == "cpu":
        return []
    most = max((row["gpus"] for row in rows), default=1)
    return [
        f"{row['case']}, graphs {row['graphs']}: {row['efficiency']:.3f} at {most} cards, wanted "
        f"{WANTED}"
        for row in rows
        if row["gpus"] == most > 1
        and row["images"] == WANTED_AT
        and not row["efficiency"] >= WANTED
    ]


if __name__ == "__main__":
    raise SystemExit(main())
