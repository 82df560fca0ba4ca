"""How training scales over the GPUs of a machine: images a second of one model on 2, 4, 8 cards.

    python benchmarks/scaling_gpu.py --data .data/coco_mini --gpus 2

Mask R-CNN with VMamba-T, 2 and 4 real images of 1333 x 800 a card in their changing sizes, and
UperNet with MambaVision-B, 4 images of 512 x 512 a card: whole steps from images in memory,
bfloat16 autocast, AdamW; as `mmmamba train` makes them (graphs auto), and as MMEngine does (graphs
off). Each number of cards is a `torchrun` of its own. Before anything is timed, the gradients that
the processes agree on must be the mean of those of their batches in one process. Then, by turns and
several times over, whose median counts:

- "alone": one card trains on the batches of all, as it does where there is no other;
- "apart": each trains on its own, and nothing is exchanged;
- "in step": so too, but they wait for each other after every step, for the slower batch;
- the step itself, in which they exchange gradients.

Efficiency is images a second by those of as many cards alone. Without GPUs: gloo, smaller heads and
images. Exit code 1 where efficiency at the most cards with 4 images each is below the target. What
8, 16 and 64 cards would do by the model of `projection.py` is in a table of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, ROOT, Column, Table, clean, now, parser, peak_gib, save, verdict
from kernels import gpu_work
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmengine.structures import PixelData
from processes import Processes, distribute, join, tell
from projection import projected
from torch import Tensor, distributed, nn
from training_step_gpu import build, load_config, some_batches, step, time_steps

from mmmamba.acceleration.graphs import graph_model
from mmmamba.engine.run_ahead import RunAhead
from mmmamba.engine.tf32 import tf32_products

CASES = {"mask_rcnn, 2": ("mmdet", 2), "mask_rcnn, 4": ("mmdet", 4), "upernet, 4": ("mmseg", 4)}
"""Library and images a card."""
UPERNET = ROOT / "configs/upernet/mambavision_b_160k_ade20k-512x512.py"
WANTED = 0.95
WANTED_AT = 4
"""Images a card for which it is wanted."""
SIZES = 12
"""Batches of each process, which come again and again."""
TOLERANCE = 1e-3
"""The relative difference of gradients that is allowed."""
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


def gradients(model: nn.Module, batch: dict, seed: int) -> Tensor:
    """All in one vector."""
    inner = getattr(model, "module", model)
    set_random_seed(seed)
    model.zero_grad()
    loss, _ = inner.parse_losses(model(**inner.data_preprocessor(batch, True), mode="loss"))
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def check(cfg: Config, batches: list[dict]) -> float:
    """Relative difference of the processes' gradients from the mean of one's, with graphs.

    In float32, without random paths, each batch norm on its process's batch.
    """
    cfg = cfg.copy()
    cfg.model.backbone.drop_path_rate = 0.0
    rank, world = distributed.get_rank(), distributed.get_world_size()
    model = revert_sync_batchnorm(build(cfg)[0])
    with tf32_products(False):
        wanted = torch.stack([gradients(model, batches[r], seed=r) for r in range(world)]).mean(0)
        graph_model(model, 1)
        together = distribute(model)
        # A size is captured when it comes again.
        for _ in range(3):
            got = gradients(together, batches[rank], seed=rank)
    return ((got - wanted).norm() / wanted.norm()).item()


class Alone:
    """Within it a model trains as if there were no other process: nothing is exchanged."""

    def __init__(self, model: MMDistributedDataParallel):
        self.model = model
        self.norms = [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
        # All processes have to make all of them.
        self.mine = distributed.new_subgroups(group_size=1)[0] if self.norms else None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        for norm in self.norms:
            norm.process_group = self.mine
        with self.model.no_sync():
            yield
        for norm in self.norms:
            norm.process_group = None


def measure(cfg: Config, batches: list[dict], args: argparse.Namespace, graphs: str) -> dict:
    """Milliseconds of steps in the four ways and of NCCL's kernels, GiB at the peak."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    # To wait in without work for the GPU.
    waiting = distributed.new_group(backend="gloo")
    mine = batches[rank::world]
    clean()
    model, wrapper = build(cfg)
    if DEVICE == "cpu":
        # Statistics over several processes are for GPUs alone.
        model = revert_sync_batchnorm(model)
    graph_model(model, graphs)
    together = distribute(model, stock=graphs == "off")
    apart = Alone(together)
    run = stepper(together, wrapper, graphs)
    time_steps(run, cycle(mine), 0, OFTEN * SIZES)
    row = dict(gib=peak_gib())
    row["parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    row["nccl"] = nccl_ms(run, mine)
    if rank == 0:
        single, its_wrapper = build(cfg)
        single = revert_sync_batchnorm(single)
        graph_model(single, graphs)
        one = stepper(single, its_wrapper, graphs)
        time_steps(one, cycle(batches), 0, OFTEN * len(batches))
    distributed.barrier(group=waiting)
    found: dict[str, list] = dict(alone=[], batches=[], apart=[], in_step=[], ms=[])
    for _ in range(args.rounds):
        if rank == 0:
            found["alone"].append(time_steps(one, cycle(batches), 0, len(batches)))
            found["batches"].append(each_ms(one, batches))
        distributed.barrier(group=waiting)
        with apart():
            found["apart"].append(time_steps(run, cycle(mine), 0, SIZES))
            distributed.barrier(group=waiting)
            found["in_step"].append(time_steps(in_step(run), cycle(mine), 0, SIZES))
        found["ms"].append(time_steps(run, cycle(mine), 0, SIZES))
        distributed.barrier(group=waiting)
    if rank == 0:
        row["batches"] = [statistics.median(times) for times in zip(*found["batches"])]
        row["alone"] = statistics.median(found["alone"])
    for name in ("apart", "in_step", "ms"):
        mean = torch.tensor(statistics.median(found[name]))
        distributed.all_reduce(mean, group=waiting)
        row[name] = mean.item() / world
    return row


def stepper(model: nn.Module, wrapper: OptimWrapper, graphs: str) -> Callable[[dict], object]:
    """A training step as in `mmmamba train`, or without graphs as MMEngine makes it."""
    if graphs == "off":
        return partial(step, model, wrapper)
    hub = MessageHub.get_instance(f"steps of {id(model)}")
    ahead = RunAhead(model, wrapper, hub)

    def run(batch: dict) -> None:
        for name, value in model.train_step(batch, wrapper).items():
            hub.update_scalar(f"train/{name}", value)
        ahead.end_step()

    return run


def each_ms(run: Callable[[dict], object], batches: Sequence[dict]) -> list[float]:
    """Milliseconds of a step on each batch."""
    found = []
    for batch in batches:
        start = now()
        run(batch)
        found.append((now() - start) * 1e3)
    return found


def in_step(run: Callable[[dict], object]) -> Callable[[dict], None]:
    """A step after which the processes wait for each other."""
    token = torch.zeros(1, device=DEVICE)

    def run_and_wait(batch: dict) -> None:
        run(batch)
        distributed.all_reduce(token)

    return run_and_wait


def nccl_ms(run: Callable[[dict], object], batches: list[dict]) -> float:
    endless = cycle(batches)
    work = gpu_work(lambda: run(next(endless)), calls=SIZES)
    return sum(ms for name, ms in work.milliseconds.items() if "nccl" in name.lower())


def worker(args: argparse.Namespace) -> None:
    """One of the processes: rank 0 writes a line for each row."""
    MMLogger.get_instance("benchmark", log_level="ERROR")
    world = int(os.environ["WORLD_SIZE"])
    given = {case: prepare(case, args, world) for case in args.cases}
    rank, _ = join()
    for case, (cfg, batches) in given.items():
        init_default_scope(CASES[case][0])
        singles = [{k: part[:1] for k, part in batch.items()} for batch in batches[:world]]
        off = check(cfg, singles if "mask" in case else batches[:world])
        if not off <= TOLERANCE:
            raise SystemExit(f"{case}: gradients differ by {off:.1e} on {world}: not timed")
        for graphs in ("off", "auto"):
            if DEVICE == "cpu" and graphs == "auto":
                continue
            row = measure(cfg, batches, args, graphs)
            if rank == 0:
                tell(dict(case=case, graphs=graphs, gpus=world, images=CASES[case][1], **row))
    distributed.barrier()
    distributed.destroy_process_group()


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    options.add_argument("--gpus", type=int, nargs="+", default=[2, 4, 8])
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--scale", type=int, nargs=2, default=(1333, 800))
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--rounds", type=int, default=3)
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
        Column("alone, ms", "alone", ".1f"),
        Column("apart, ms", "apart", ".1f"),
        Column("in step, ms", "in_step", ".1f"),
        Column("NCCL, ms", "nccl", ".1f"),
        Column("GiB a card", "gib", ".1f"),
    )
    failed: list[str] = []
    for gpus in sorted(args.gpus):
        given = ["--data", args.data, "--rounds", args.rounds, "--side", args.side, "--scale"]
        given += [*args.scale, "--cases", *args.cases]
        processes = Processes(gpus, __file__, "--worker", *given)
        for row in processes:
            row["speed"] = 1e3 * gpus * row["images"] / row["ms"]
            row["efficiency"] = row["alone"] / row["ms"]
            table.add(**row)
            print(
                {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True
            )
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
        Column("measured", "waited", ".1f"),
        Column("exchange, ms", "exchange", ".1f"),
        Column("ms a step", "ms", ".1f"),
        Column("images a second", "speed", ".0f"),
        Column("efficiency", "efficiency", ".3f"),
    )
    for row in projected(table.rows):
        later.add(**row)
    later.show()
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
