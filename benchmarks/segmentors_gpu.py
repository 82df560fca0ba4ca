"""Sigma, MiM-ISTD and SUM whole, beside UperNet with Swin-T: images a second and memory.

    python benchmarks/segmentors_gpu.py

Needs a GPU. First their parity tests run on it; one that misses its authors' figures gets no
numbers. Then bfloat16 autocast, from normalised images to logits, with graphs as they are by
default for ours and for mmseg's; a pass with graphs is compared with one without. Training is
forward and backward pass without loss and optimizer. Each at the size that its authors train at,
and UperNet at each of these sizes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from backbones_gpu import compile_kernels, failed_parity, keep_rows, speed_table, time_passes
from common import DEVICE, ROOT, clean, parser, save

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmseg: mmcv's operators)
import mmseg
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

OURS = {
    "Sigma": ("sigma/sigma_t_mfnet-480x640", (8, 6, 480, 640)),
    "MiM_ISTD": ("mim_istd/mim_istd_nuaa-sirst-512x512", (8, 3, 512, 512)),
    "SUM": ("sum/sum_salicon-256x256", (32, 3, 256, 256)),
}
"""By the name of their parity tests: config, and the images of a batch."""
PEER = Path(mmseg.__file__).parent / (
    ".mim/configs/swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"
)


def build(config: Path) -> nn.Module:
    """A network with random weights."""
    cfg = Config.fromfile(config)
    init_default_scope("mmseg")
    cfg.model.backbone.pop("init_cfg", None)
    cfg.model.pop("pretrained", None)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    # Statistics of one process.
    return revert_sync_batchnorm(model).to(DEVICE)


def measure(
    name: str, config: Path, shape: tuple[int, ...], only_compile: bool = False
) -> dict[str, Any]:
    """What `time_passes` says of a segmentor, from normalised images to logits.

    Raises:
        AssertionError: graphs give other results than eager mode.
    """
    model = build(config)
    x = torch.randn(shape, device=DEVICE)
    row = dict(model=name, input=list(shape))
    passes = time_passes(name, model, lambda: model(x, mode="tensor"), shape[0], only_compile)
    return row | passes


def ours(name: str) -> tuple[Path, tuple[int, ...]]:
    config, shape = OURS[name]
    return ROOT / "configs" / f"{config}.py", shape


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--models", nargs="+", choices=OURS, default=list(OURS))
    options.add_argument("--compile", help="run a model once, for its kernels, and end")
    options.add_argument(
        "--keep", type=Path, help="a record of another run, whose rows at other sizes are kept"
    )
    args: argparse.Namespace = options.parse_args()
    if DEVICE != "cuda":
        options.error("it needs a GPU")
    if args.compile:
        measure(args.compile, *ours(args.compile), only_compile=True)
        return
    compile_kernels(__file__, args.models)
    wrong = failed_parity(set(args.models), slow=True)
    print("\n".join(wrong.values()))
    table, more = speed_table(), {}
    if args.keep:
        now = [list(OURS[name][1][-2:]) for name in args.models]
        more = keep_rows(table, args.keep, lambda row: row["input"][-2:] not in now)
    for name in args.models:
        config, shape = ours(name)
        batch, _, *side = shape
        runs = {"UperNet Swin-T": (PEER, (batch, 3, *side))}
        if name not in wrong:
            runs[name] = config, shape
        for label, (path, images) in runs.items():
            table.add(**measure(label, path, images))
            print(table.rows[-1], flush=True)
            clean()
            save(args.out, table, **more)
    table.show(150)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
