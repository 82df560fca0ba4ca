"""Training with FSDP against DDP: the same losses, then memory a card and images a second.

    python benchmarks/fsdp_gpu.py --cards 1 2

UperNet with MambaVision-L3 (740 million parameters in the backbone) and with VMamba-B, `with_cp`,
2 images of 512 x 512 a card, random weights, images made in memory, AdamW with clipped gradients.
First 20 steps in float32 by DDP twice and by FSDP, each process on batches of its own: the losses
must be equal but for rounding, of which the second DDP shows how much there is. Where they are not,
nothing is timed. Then whole steps in bfloat16 autocast with every loss read. Of VMamba-B
(`--files`) the state after some steps is written by N cards, and read by N and by one: the next
losses must be those of the run that went on. Batch norms take their own card's statistics. Each
number of cards is a `torchrun` of its own, the most first. `--tiny`, or no GPU: gloo, two
processes, small models.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import DEVICE, GIB, ROOT, Column, Table, clean, parser, peak_gib, save, verdict
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from processes import Processes, distribute, join, tell
from scaling_gpu import drawn_batches
from torch import distributed, nn
from training_step_gpu import build, step, time_steps

from mmmamba.engine.sharding import gathered, gathered_weights, shard, share_out_state, shared_out
from mmmamba.engine.tf32 import tf32_products
from mmmamba.models.backbones.mamba_vision import MambaVision
from mmmamba.models.backbones.vmamba import VMamba

CASES = {
    "MambaVision-L3": "mambavision_l3_512_21k_160k_ade20k-640x640",
    "VMamba-B": "vmamba_b_160k_ade20k-512x512",
}
TINY = {
    "MambaVision-L3": MambaVision.TINY,
    "VMamba-B": VMamba.TINY,
}
"""Their backbones where the script is tried."""
WIDTHS = [16, 32, 64, 128]
STEPS, LR = 20, 1e-3
"""The check's steps, and a rate at which losses fall within these."""
TOLERANCE, OF_ROUNDING = 1e-4, 10
"""Losses may differ by so much, or by so many times what two runs of DDP differ by."""
BEFORE, AFTER = 3, 2
"""Steps before a file is written, and behind it."""
SIZES = 4
"""Batches of each process, which come again and again."""


class Trained(NamedTuple):
    """A model on its way."""

    model: nn.Module
    wrapper: OptimWrapper


def config(case: str, args: argparse.Namespace, half: bool) -> Config:
    cfg = Config.fromfile(ROOT / f"configs/upernet/{CASES[case]}.py")
    backbone = cfg.model.backbone
    backbone.update(init_cfg=None, with_cp=True)
    if backbone.type == "MambaVision":
        # Whole windows: padded ones make gradients from random weights explode.
        backbone.window_size = (8, 8, args.side // 16, args.side // 32)
    if args.tiny:
        backbone.update(TINY[case])
        cfg.model.decode_head.update(in_channels=WIDTHS, channels=16)
        cfg.model.auxiliary_head.update(in_channels=WIDTHS[2], channels=16)
    cfg.model.data_preprocessor.size = (args.side, args.side)
    kind = dict(type="AmpOptimWrapper", dtype="bfloat16") if half else dict(type="OptimWrapper")
    cfg.optim_wrapper.update(kind, clip_grad=dict(max_norm=1.0))
    cfg.optim_wrapper.optimizer.lr = LR
    return cfg


def ready(base: nn.Module, cfg: Config, way: str) -> Trained:
    """A copy of a model with its optimizer, spread over the processes in one of two ways."""
    model = copy.deepcopy(base).to(DEVICE).train()
    wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    if way == "FSDP":
        shard(model, wrapper.optimizer)
    elif distributed.get_world_size() > 1:
        model = distribute(model)
    return Trained(model, wrapper)


def losses(run: Trained, batches: list[dict], first: int, count: int) -> list[float]:
    """Losses of this process's batches, each step with random numbers of its own."""
    found = []
    for number in range(first, first + count):
        set_random_seed(1000 * number + distributed.get_rank())
        found.append(step(*run, batches[number % len(batches)])["loss"])
    return found


def most(value: float) -> float:
    """The largest of all processes."""
    tensor = torch.tensor(value, dtype=torch.float64, device=DEVICE)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return tensor.item()


def apart(one: list[float], two: list[float]) -> float:
    """The largest relative difference, in any process."""
    return most(max(abs(a - b) / abs(b) for a, b in zip(one, two)))


def check(base: nn.Module, cfg: Config, batches: list[dict], steps: int) -> dict[str, float]:
    """How the losses of two DDP and of DDP and FSDP differ, and how far they fall meanwhile."""
    found = []
    with tf32_products(False):
        for way in ("DDP", "DDP", "FSDP"):
            clean()
            found.append(losses(ready(base, cfg, way), batches, 0, steps))
    again, wanted, got = found
    return dict(
        fsdp=apart(got, wanted),
        ddp=apart(again, wanted),
        # The same batch, as often as it came.
        moved=apart(wanted[(steps - 1) // SIZES * SIZES :][:1], wanted[:1]),
    )


def too_far(row: dict[str, Any]) -> bool:
    """Whether losses differ by more than rounding."""
    limit = max(TOLERANCE, OF_ROUNDING * row.get("ddp", 0.0))
    return not row.get("fsdp", row.get("resumed")) <= limit


def measure(base: nn.Module, cfg: Config, batches: list[dict], way: str, steps: int) -> dict:
    """Milliseconds of a step, GiB at the peak of one and kept between steps."""
    clean()
    run = ready(base, cfg, way)
    ms = time_steps(partial(step, *run), cycle(batches), len(batches), steps)
    kept = torch.cuda.memory_allocated() / GIB if DEVICE == "cuda" else float("nan")
    return dict(way=way, ms=most(ms), gib=most(peak_gib()), kept=most(kept))


def write(base: nn.Module, cfg: Config, batches: list[dict], file: Path) -> list[float]:
    """Write the state after some steps. Returns the losses of the steps behind it."""
    run = ready(base, cfg, "FSDP")
    losses(run, batches, 0, BEFORE)
    first = distributed.get_rank() == 0
    state = dict(
        weights=gathered_weights(run.model, first),
        optimizer=gathered(run.wrapper.state_dict(), first),
    )
    if first:
        torch.save(state, file)
    after = losses(run, batches, BEFORE, AFTER)
    if first:
        file.with_suffix(".json").write_text(json.dumps(after))
    distributed.barrier()
    return after


def go_on(base: nn.Module, cfg: Config, batches: list[dict], way: str, file: Path) -> list[float]:
    """The losses of the steps behind a file's."""
    run = ready(base, cfg, way)
    held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    own = run.model.state_dict()
    run.model.load_state_dict({k: shared_out(x, own[k]) for k, x in held["weights"].items()})
    run.wrapper.load_state_dict(share_out_state(held["optimizer"], run.wrapper.optimizer))
    return losses(run, batches, BEFORE, AFTER)


def resumed(base: nn.Module, cfg: Config, batches: list[dict], file: Path) -> dict[str, float]:
    """How the losses behind a file differ from those of the run that wrote it and went on."""
    if distributed.get_world_size() > 1:
        wanted = write(base, cfg, batches, file)
        return dict(resumed=apart(go_on(base, cfg, batches, "FSDP", file), wanted))
    # The first process's batch: with the next step the gradients are those of fewer images.
    wanted = json.loads(file.with_suffix(".json").read_text())[:1]
    return dict(resumed=apart(go_on(base, cfg, batches, "alone", file)[:1], wanted))


def worker(args: argparse.Namespace) -> None:
    """One of the processes: rank 0 writes a line for each row."""
    MMLogger.get_instance("benchmark", log_level="ERROR")
    init_default_scope("mmseg")
    rank, world = join()
    # The first process's are the same whatever the number of processes.
    batches = list(drawn_batches(args.side, args.batch, SIZES * (rank + 1)))[-SIZES:]
    for case in args.cases:
        cfg, half = config(case, args, half=False), config(case, args, half=DEVICE == "cuda")
        base = revert_sync_batchnorm(build(cfg)[0]).cpu()
        about = dict(case=case, cards=world, images=args.batch)

        def told(step: str, about: dict = about, **row: Any) -> None:
            if rank == 0:
                tell({**about, "step": step, **row})

        found = check(base, cfg, batches, args.check) if world > 1 else {}
        if found:
            told("check", **found)
        if found and too_far(found):
            continue
        for way in ("DDP", "FSDP") if world > 1 else ("alone",):
            row = measure(base, half, batches, way, args.steps)
            told("speed", speed=1e3 * world * args.batch / row["ms"], **row)
        file = Path(args.folder) / f"{case}.pth"
        if case in args.files and (world > 1 or file.exists()):
            told("resume", **resumed(base, cfg, batches, file))
    distributed.barrier()
    distributed.destroy_process_group()


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--cards", type=int, nargs="+")
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--files", nargs="*", choices=CASES, default=["VMamba-B"])
    options.add_argument("--batch", type=int, default=2, help="images of each card")
    options.add_argument("--side", type=int)
    options.add_argument("--steps", type=int)
    options.add_argument("--check", type=int, help="steps whose losses are compared")
    options.add_argument("--tiny", action="store_true", help="small models, to try the script")
    options.add_argument("--worker", action="store_true", help="be one of the processes")
    options.add_argument("--folder", help="where files lie meanwhile")
    args = options.parse_args()
    args.tiny |= DEVICE == "cpu"
    args.side = args.side or (64 if args.tiny else 512)
    args.steps = args.steps or (2 if args.tiny else 12)
    args.check = args.check or (5 if args.tiny else STEPS)
    args.cards = args.cards or [1, 2]
    if args.worker:
        worker(args)
        return 0
    checks = Table(
        "checks",
        "largest relative difference of losses, float32",
        Column("case", "case"),
        Column("cards", "cards"),
        Column("FSDP and DDP", "fsdp", ".1e"),
        Column("DDP and itself", "ddp", ".1e"),
        Column("and fall by", "moved", ".1e"),
        Column("behind a file", "resumed", ".1e"),
    )
    speeds = Table(
        "fsdp",
        f"whole training steps, {args.batch} images a card, bfloat16",
        Column("case", "case"),
        Column("cards", "cards"),
        Column("way", "way"),
        Column("images a second", "speed", ".1f"),
        Column("ms a step", "ms", ".1f"),
        Column("GiB a card", "gib", ".1f"),
        Column("between steps", "kept", ".1f"),
    )
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for cards in sorted(args.cards, reverse=True):
            given = ["--worker", "--folder", folder, "--steps", args.steps, "--side", args.side]
            given += ["--batch", args.batch, "--cases", *args.cases, "--files", *args.files]
            given += ["--check", args.check, *["--tiny"] * args.tiny]
            # 740 million random weights are drawn on the CPU.
            threads = max(1, (os.cpu_count() or 1) // (2 * cards))
            processes = Processes(cards, __file__, *given, threads=threads)
            for row in processes:
                (speeds if row["step"] == "speed" else checks).add(**row)
                print({k: v for k, v in row.items() if v is not None}, flush=True)
                save(args.out, checks, speeds)
            if processes.code:
                missed.append(f"{cards} cards ended with {processes.code}")
    checks.show()
    speeds.show()
    for row in filter(too_far, checks.rows):
        missed.append(f"losses differ: {row}")
    return verdict(missed, "losses are equal but for rounding")


if __name__ == "__main__":
    raise SystemExit(main())
