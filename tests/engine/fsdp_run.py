"""One process of a run of several: `fsdp_run.py FOLDER JOB...`.

A job is `NAME:WORK_DIR:RUNNER[:OPTION...]`: a training of a tiny Mask R-CNN by a kind of runner,
whose losses of this process go to `FOLDER/NAME_rank0.pt`. One start for all jobs of a number of
processes, as it takes longer than what they compute.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from mmengine.config import Config

from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine.demo import apply_demo
from tests.engine.tiny_models import BACKBONE, CONFIGS, WIDTHS, _tiny
from tests.engine.tiny_runs import Witness, train

STEPS = 20
SAVED = 10


def tiny_mask_rcnn(folder: Path, work_dir: str, runner: str) -> Config:
    """Gradients are clipped, the rate warms up, and checkpoints come at both halves."""
    cfg = Config.fromfile(CONFIGS / "mask_rcnn" / "vmamba_t_1x_coco.py")
    cfg.model.backbone = dict(BACKBONE, with_cp=True)
    cfg.model.neck.in_channels = WIDTHS
    apply_demo(cfg, folder / f"shapes{os.environ.get('RANK', 0)}", ShapesSpec(40, 2, size=64))
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=20)
    cfg.model.train_cfg.rcnn.sampler.num = 8
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=STEPS)
    tested = {key: cfg[key] for key in ("test_cfg", "test_dataloader", "test_evaluator")}
    cfg = _tiny(cfg, folder)
    cfg.update(tested)
    cfg.custom_hooks = [dict(type="Witness", priority="VERY_LOW")]
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=SAVED, by_epoch=False)
    cfg.optim_wrapper.clip_grad = dict(max_norm=1.0, norm_type=2)
    cfg.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
    cfg.randomness = dict(seed=5)
    cfg.runner_type, cfg.work_dir = runner, str(folder / work_dir)
    return cfg


def main(folder: Path, *jobs: str) -> None:
    for job in jobs:
        name, work_dir, runner, *options = job.split(":")
        Witness.watch()
        launcher = ["--launcher", "pytorch"] if "RANK" in os.environ else []
        assert train(tiny_mask_rcnn(folder, work_dir, runner), *launcher, *options) == 0
        rank = os.environ.get("RANK", 0)
        torch.save(Witness.seen, folder / f"{name}_rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    # Gloo's threads may abort a process that takes itself apart.
    sys.stdout.flush()
    os._exit(0)
