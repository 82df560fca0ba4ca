"""Mask R-CNN with VMamba-T on several GPUs against one: gradients, then images a second.

    torchrun --nproc-per-node=2 benchmarks/ddp_gpu.py --data .data/coco_mini

Batches of 4 real images at 1333 x 800 for each GPU, read once before timing; bfloat16 autocast,
AdamW, every loss read in each step. The gradients that the processes agree on must be the mean of
those of their batches, computed by one process; where they are not, nothing is timed. `--graphs`
replays what it can as CUDA graphs wherever the processes train one model. Exit code 1 where N GPUs
reach less than 0.9 N times the images a second of one on the same images. Without GPUs: gloo,
smaller heads and images.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from common import DEVICE, Column, Table, parser, save, verdict
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from processes import join
from torch import Tensor, distributed, nn
from training_step_gpu import build, load_config, some_batches, step, time_steps

from mmmamba.acceleration.graphs import graph_model
from mmmamba.engine.tf32 import tf32_products

TOLERANCE = 1e-3
WANTED = 0.9


def distribute(model: nn.Module) -> MMDistributedDataParallel:
    devices = [torch.cuda.current_device()] if DEVICE == "cuda" else None
    return MMDistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def gradients(model: nn.Module, batch: dict, seed: int) -> tuple[Tensor, float]:
    """All in one vector, and the loss."""
    inner = getattr(model, "module", model)
    set_random_seed(seed)
    model.zero_grad()
    loss, _ = inner.parse_losses(model(**inner.data_preprocessor(batch, True), mode="loss"))
    loss.backward()
    found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(found), loss.item()


def check(cfg: Config, batches: list[dict], graphs: bool) -> tuple[float, float, float]:
    """Relative difference of the gradients, mean loss of one process, mean loss of all.

    In float32, without random paths, each batch norm on its process's batch.
    """
    cfg = cfg.copy()
    cfg.model.backbone.drop_path_rate = 0.0
    rank, world = distributed.get_rank(), distributed.get_world_size()
    model = revert_sync_batchnorm(build(cfg)[0])
    with tf32_products(False):
        alone = [gradients(model, batches[r], seed=r) for r in range(world)]
        if graphs:
            graph_model(model)
        together = distribute(model)
        # A size is captured when it comes again.
        for _ in range(3 if graphs else 1):
            got, loss = gradients(together, batches[rank], seed=rank)
    wanted = torch.stack([gradient for gradient, _ in alone]).mean(0)
    loss = torch.tensor(loss, device=got.device)
    distributed.all_reduce(loss)
    difference = (got - wanted).norm() / wanted.norm()
    return difference.item(), sum(one for _, one in alone) / world, loss.item() / world


def milliseconds(
    cfg: Config, batches: list[dict], steps: int, together: bool, graphs: bool = False
) -> float:
    """Milliseconds of a training step."""
    model, wrapper = build(cfg)
    if graphs:
        graph_model(model, len(batches))
    if together:
        model = distribute(model)
    endless = (batches[i % len(batches)] for i in range(10**6))
    warmup = (3 if graphs else 1) * len(batches)
    return time_steps(lambda batch: step(model, wrapper, batch), endless, warmup, steps)


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    options.add_argument("--batch", type=int, default=4, help="images of each GPU")
    options.add_argument("--scale", type=int, nargs=2, default=(1333, 800))
    options.add_argument("--steps", type=int, default=24)
    options.add_argument("--batches", type=int, default=6, help="of each process, repeated")
    options.add_argument("--graphs", action="store_true")
    args = options.parse_args()
    args.scale = tuple(args.scale)
    init_default_scope("mmdet")
    MMLogger.get_instance("benchmark", log_level="ERROR")
    cfg = load_config("ours, VMamba-T", args)
    # Before the processes know of each other: samplers would give each its share.
    batches = some_batches(cfg, args.batches * int(os.environ["WORLD_SIZE"]))
    rank, world = join()
    # To wait in without work for the GPU.
    waiting = distributed.new_group(backend="gloo")
    mine = batches[rank::world]
    halves = [
        {key: part[: args.batch // 2] for key, part in batch.items()} for batch in batches[:world]
    ]
    difference, alone, all_of_them = check(cfg, halves, args.graphs)
    if rank == 0:
        print(
            f"loss {alone:.6f} in one process, {all_of_them:.6f} in {world}; gradients differ by "
            f"{difference:.1e}"
        )
    if not difference <= TOLERANCE:
        print(
            f"MISSED on rank {rank}: gradients differ by {difference:.1e}, wanted {TOLERANCE}: "
            "nothing is timed"
        )
        return 1
    one = milliseconds(cfg, batches, args.steps * world, together=False) if rank == 0 else 0.0
    distributed.barrier(group=waiting)
    each = milliseconds(cfg, mine, args.steps, together=False)
    distributed.barrier(group=waiting)
    many = milliseconds(cfg, mine, args.steps, together=True, graphs=args.graphs)
    distributed.barrier(group=waiting)
    ratio = torch.tensor(world * one / many)
    distributed.broadcast(ratio, 0, group=waiting)
    slowest = torch.tensor(each)
    distributed.all_reduce(slowest, distributed.ReduceOp.MAX, group=waiting)
    missed = []
    if DEVICE == "cuda" and ratio < WANTED * world:
        missed.append(f"{ratio:.2f} times one, wanted {WANTED * world:.2f}")
    if rank == 0:
        table = Table(
            "speed",
            f"{args.batch} images of {args.scale} a GPU, bfloat16",
            Column("run", "run"),
            Column("ms a step", "ms", ".1f"),
            Column("images a second", "images", ".1f"),
            Column("times one", "times", ".2f"),
        )
        for name, spent, gpus in (
            ("one GPU", one, 1),
            (f"{world} GPUs, nothing exchanged", slowest.item(), world),
            (f"{world} GPUs, one model{', graphs' * args.graphs}", many, world),
        ):
            images = 1e3 * args.batch * gpus / spent
            table.add(run=name, ms=spent, images=images, times=gpus * one / spent)
        table.show()
        save(args.out, table, gpus=world)
        verdict(missed, "reached")
    distributed.destroy_process_group()
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
