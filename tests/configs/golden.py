"""Losses of 12 iterations of a config of each head.

Tiny backbone, the demo's heads, small images, CPU, float32.

    python -m tests.configs.golden    # writes golden_losses.json anew and says what moved

A change that moves them says so in its commit, and why.
"""

from __future__ import annotations

import json
import re
import tempfile
from itertools import cycle, islice
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed

from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine.demo import apply_demo

from .conftest import CONFIGS

FILE = Path(__file__).with_name("golden_losses.json")
# Later another CPU's rounding, which grows by half with each step, decides which regions count.
ITERATIONS = 12
# Config and side of its images. Batch norm over the last map's few positions makes rounding errors
# large.
NAMES = {
    "mask_rcnn/vmamba_t_1x_coco": 64,
    "cascade_mask_rcnn/vmamba_t_1x_coco": 64,
    "retinanet/efficientvmamba_t_1x_coco": 128,
    "upernet/localvmamba_t_160k_ade20k-512x512": 64,
    "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512": 128,
    "yolo/vmamba_t_yolox_36e_coco": 64,
    "yolo/vmamba_t_rtmdet_36e_coco": 64,
    "mamba_yolo/mamba_yolo_t_300e_coco": 64,
}
# Adam divides gradients by their own size, so that rounding decides about those that are next to
# nothing.
OPTIMIZER = dict(type="SGD", lr=1e-3, momentum=0.9)
# Of backbones, what belongs to the head.
KEPT = ("out_indices", "norm_eval")

Losses = dict[str, list[float]]


def golden_losses(
    name: str, folder: Path, noise: float = 0.0, iterations: int = ITERATIONS
) -> Losses:
    """Each loss over the iterations, in batches of two of the shapes that are drawn into `folder`.

    Args:
        noise: weights differ by so much of themselves at the start, as they might by another CPU's
            rounding.
    """
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope(cfg.default_scope)
    shrink(cfg.model)
    size = NAMES[name]
    spec = ShapesSpec(num_train=12, num_val=1, size=size, empty_every=6, crowd_every=5)
    apply_demo(cfg, folder / f"shapes{size}", spec)
    cfg.train_dataloader.batch_size = 2
    cfg.optim_wrapper.optimizer = OPTIMIZER
    if "rpn_proposal" in cfg.model.get("train_cfg", {}):
        cfg.model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=50)
        stages = cfg.model.train_cfg.rcnn
        for stage in stages if isinstance(stages, list) else [stages]:
            stage.sampler.num = 16
    set_random_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("ERROR")
    model.init_weights()
    logger.setLevel(level)
    with torch.no_grad():
        for p in model.parameters() if noise else []:
            p.mul_(1 + noise * (2 * torch.rand_like(p) - 1))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    steps = []
    for number, batch in enumerate(islice(cycle(loader), iterations)):
        # Where rounding decides whether a region is positive, only that step draws another number
        # of samples.
        set_random_seed(number)
        steps.append(model.train_step(batch, wrapper))
    return {key: [step[key].item() for step in steps] for key in steps[0] if "loss" in key}


def shrink(model: Config) -> None:
    """The family's smallest variant."""
    family = MODELS.get(model.backbone.type)
    kept = {key: value for key, value in model.backbone.items() if key in KEPT}
    model.backbone = dict(type=model.backbone.type, **family.TINY, **kept)
    widths = MODELS.build(model.backbone).out_channels
    if "neck" in model:
        model.neck.in_channels = widths
        if model.neck.type == "MambaYOLOPAFPN":
            model.neck.out_channels = model.bbox_head.in_channels = widths
    else:
        model.decode_head.in_channels = widths
    if "auxiliary_head" in model:
        model.auxiliary_head.in_channels = widths[model.auxiliary_head.in_index]


def drift(got: list[float], want: list[float]) -> list[float]:
    """Differences of each iteration, relative to the largest loss of all of them."""
    return [abs(a - b) / max(map(abs, want)) for a, b in zip(got, want, strict=True)]


def main() -> None:
    before = json.loads(FILE.read_text()) if FILE.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        found = {name: golden_losses(name, Path(folder)) for name in NAMES}
    for name, losses in found.items():
        for key, values in losses.items():
            if key not in before.get(name, {}):
                print(f"{name}: {key} is new")
            elif (moved := max(drift(values, before[name][key]))) > 1e-6:
                first = before[name][key][0]
                print(f"{name}: {key} moved by {moved:.1e}; first {first:.6f}, now {values[0]:.6f}")
    rounded = {
        name: {key: [float(f"{v:.7g}") for v in values] for key, values in losses.items()}
        for name, losses in found.items()
    }
    # A line for each loss.
    FILE.write_text(
        re.sub(r"\s+(?=-?\d)|(?<=\d)\s+(?=])", " ", json.dumps(rounded, indent=1)) + "\n"
    )


if __name__ == "__main__":
    main()
