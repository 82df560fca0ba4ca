"""What the checks at the start of a run and before each checkpoint cost, on a CPU.

    python benchmarks/checks_cpu.py

Mask R-CNN with VMamba-T and fused AdamW.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from common import MIB, ROOT, Column, Table, parser, save

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope

from mmmamba.checkpoints.run_state import read_run_checkpoint
from mmmamba.engine.reliability.finite import check_run_finite
from mmmamba.engine.reliability.resume.newest import file_fault, weight_names
from mmmamba.engine.reliability.resume.optimizer_state import check_optimizer
from mmmamba.engine.reliability.whole_weights import fit_whole

CONFIG = ROOT / "configs/mask_rcnn/vmamba_t_1x_coco.py"


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """The least of some."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=3, help="of which the least is shown")
    args = options.parse_args()
    cfg = Config.fromfile(CONFIG)
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), fused=True))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    wrapper.optimizer.step()
    held = dict(
        meta=dict(epoch=1, iter=9),
        message_hub={},
        state_dict=model.state_dict(),
        optimizer=wrapper.state_dict(),
    )
    runner = SimpleNamespace(model=model, hooks=[], optim_wrapper=wrapper)
    table = Table(
        "checks",
        "a checkpoint of Mask R-CNN with VMamba-T and fused AdamW",
        Column("what", "what"),
        Column("seconds", "seconds", ".3f"),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "iter_9.pth")
        torch.save(held, path)
        mib = os.path.getsize(path) / MIB
        print(f"{mib:.0f} MiB, {torch.get_num_threads()} threads")
        for what, call in {
            "torch.save": lambda: torch.save(held, path),
            "before a checkpoint: is all finite": lambda: check_run_finite(runner, 9),
            "how far each checkpoint came": lambda: read_run_checkpoint(path, lazily=True),
            "the newest is whole, every byte": lambda: file_fault(path, weight_names(model)),
            "weights fit": lambda: fit_whole(model, held),
            "optimizer's state fits": lambda: check_optimizer(
                wrapper.state_dict(), wrapper, model, "file"
            ),
        }.items():
            table.add(what=what, seconds=seconds(call, args.repeats))
    table.show()
    save(args.out, table, mib=mib)


if __name__ == "__main__":
    main()
