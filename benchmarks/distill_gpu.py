"""What a teacher costs in a training step, beside the arithmetic that it adds.

    python benchmarks/distill_gpu.py

A student of ImageNet's recipes on batches that are on the GPU already, bfloat16 autocast, AdamW,
CUDA graphs as by default. First the losses of one batch must be the formulas' of the logits of
student and teacher, the teacher must be what it was, bit for bit, and nothing of it among what is
trained; otherwise nothing is timed. Then milliseconds and memory of a step of the student alone,
with a teacher, soft and hard, with the average of its own weights (MESA, whose update is in every
row), and of the teacher's forward pass alone; each beside its multiply-adds, counted by PyTorch.
Weights are random, on which no time depends. `--tiny` tries it on a CPU.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from common import DEVICE, Column, Table, clean, parser, peak_gib, save, verdict, wall_ms
from mmengine.logging import MMLogger
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

import mmmamba.classification  # noqa: F401
from mmmamba.acceleration.graphs import graph_model
from mmmamba.evaluation.counting import multiply_adds
from mmmamba.models.backbones import VMamba
from mmmamba.models.classification.distillation import hard_loss, soft_loss

CLASSES = 1000
SOFT = dict(kind="soft", temperature=2.0, weight=0.5)
HARD = dict(kind="hard", weight=0.5)
ROWS = {"student alone": None, "soft": SOFT, "hard": HARD, "MESA": None}
TOLERANCE = 1e-3
WARMUP = 5
"""Steps after which sizes are captured."""


class Run:
    """A student in training, with whom it asks.

    Args:
        row: of `ROWS`.
    """

    def __init__(self, row: str, args: argparse.Namespace):
        torch.manual_seed(0)
        teacher = dict(library="timm", model=args.teacher, allow_random=True)
        model = dict(
            type="DistilledClassifier",
            data_preprocessor=dict(num_classes=CLASSES, to_rgb=True),
            backbone=dict(backbone_of(args), classifier=True, num_classes=CLASSES),
            head=dict(type="LogitsHead", loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1)),
        )
        model["data_preprocessor"].update(
            mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
        )
        if ROWS[row] is not None:
            model.update(teacher=teacher, distillation=ROWS[row])
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            self.model = MODELS.build(model).to(DEVICE).train()
        self.model.teacher()
        self.average = ExponentialMovingAverage(self.model, momentum=1e-4)
        if row == "MESA":
            self.model.learn_from_average(self.average.module)
            self.model.mesa_weight = 1.0
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=DEVICE == "cuda")
        half = DEVICE == "cuda"
        self.wrapper = (
            AmpOptimWrapper(dtype="bfloat16", optimizer=optimizer)
            if half
            else OptimWrapper(optimizer=optimizer)
        )
        generator = torch.Generator().manual_seed(0)
        shape = (args.batch, 3, args.size, args.size)
        pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        labels = torch.randint(CLASSES, (args.batch,), generator=generator)
        self.batch = dict(
            inputs=pixels.to(DEVICE),
            data_samples=[DataSample().set_gt_label(label[None].to(DEVICE)) for label in labels],
        )

    def step(self) -> None:
        self.model.train_step(self.batch, self.wrapper)
        self.average.update_parameters(self.model)

    def losses(self) -> dict[str, torch.Tensor]:
        with self.wrapper.optim_context(self.model):
            return self.model(**self.model.data_preprocessor(self.batch, True), mode="loss")


def backbone_of(args: argparse.Namespace) -> dict[str, Any]:
    if args.tiny:
        return dict(type="VMamba", **VMamba.TINY)
    return dict(type=args.family, arch=args.student)


def check(row: str, args: argparse.Namespace) -> list[str]:
    """What is not as it has to be in one step with a teacher."""
    run = Run(row, args)
    model, teacher = run.model, run.model.teacher()
    before = {name: x.clone() for name, x in teacher.network.state_dict().items()}
    torch.manual_seed(1)
    found = run.losses()["loss_teacher"].detach()
    images = model.data_preprocessor(run.batch, True)["inputs"]
    # The same pass again: drop path draws random numbers.
    torch.manual_seed(1)
    with torch.no_grad(), run.wrapper.optim_context(model):
        student, theirs = model(images), teacher(images)[0]
    term = soft_loss(student, theirs, 2.0) if row == "soft" else hard_loss(student, theirs)
    difference = ((found - 0.5 * term).abs() / (0.5 * term)).item()
    print(f"{row}: the loss differs by {difference:.1e} of the formula's", flush=True)
    run.step()
    missed = []
    if not difference <= TOLERANCE:
        missed.append(f"{row}: the loss differs by {difference:.1e}, wanted {TOLERANCE:.0e}")
    after = teacher.network.state_dict()
    changed = [name for name, x in before.items() if not torch.equal(after[name].to(x), x)]
    if changed:
        missed.append(f"{row}: the step changed the teacher's {changed[0]}")
    ours = {id(p) for p in model.parameters()}
    if any(id(p) in ours or p.grad is not None for p in teacher.network.parameters()):
        missed.append(f"{row}: the teacher is trained")
    return missed


def arithmetic(run: Run) -> float:
    """Multiply-adds of forward and backward passes of a step, in 10^9, a scan's included."""
    return sum(multiply_adds(lambda: sum(run.losses().values()).backward()).values())


def teacher_alone(args: argparse.Namespace, channels_last: bool) -> dict[str, Any]:
    """The teacher's forward pass, as it is or with its convolutions channels-last in memory."""
    run = Run("soft", args)
    teacher, images = run.model.teacher(), run.model.data_preprocessor(run.batch, True)["inputs"]
    macs = sum(multiply_adds(lambda: teacher(images)).values())
    if channels_last:
        for module in teacher.network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
    graph_model(run.model, args.graphs)

    def ask() -> None:
        run.model.ask(teacher, images)

    wall_ms(ask, WARMUP)
    clean()
    name = "teacher's forward pass" + (", channels-last" if channels_last else "")
    return dict(run=name, ms=wall_ms(ask, args.steps), macs=macs, gib=peak_gib())


def measure(row: str, args: argparse.Namespace) -> dict[str, Any]:
    run = Run(row, args)
    macs = arithmetic(run)
    run.wrapper.zero_grad()
    graph_model(run.model, args.graphs)
    wall_ms(run.step, WARMUP)
    clean()
    return dict(run=row, ms=wall_ms(run.step, args.steps), macs=macs, gib=peak_gib())


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--family", default="VMamba", help="the student's class")
    options.add_argument("--student", default="vmamba_t", help="its variant")
    options.add_argument("--teacher", default="regnety_160", help="a model of timm")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--steps", type=int, default=30)
    options.add_argument("--graphs", choices=("auto", "off"), default="auto")
    options.add_argument("--tiny", action="store_true", help="a tiny pair, to try it on a CPU")
    args = options.parse_args()
    if args.tiny:
        args.student, args.teacher, args.batch, args.size, args.steps = (
            "tiny",
            "test_resnet",
            2,
            64,
            2,
        )
    MMLogger.get_instance("benchmark", log_level="ERROR")
    missed = check("soft", args) + check("hard", args)
    if missed:
        return verdict(missed, "")
    table = Table(
        "steps",
        f"{args.student} asks {args.teacher}, {args.batch} images of {args.size}, graphs "
        f"{args.graphs}",
        Column("run", "run"),
        Column("ms", "ms", ".1f"),
        Column("times as long", "times", ".2f"),
        Column("multiply-adds, 10^9", "macs", ".1f"),
        Column("times as many", "times_macs", ".2f"),
        Column("GiB", "gib", ".1f"),
    )
    rows = [measure(row, args) for row in ROWS]
    for channels_last in (False, True):
        clean()
        rows.append(teacher_alone(args, channels_last))
    alone = rows[0]
    for row in rows:
        ratios = dict(times=row["ms"] / alone["ms"], times_macs=row["macs"] / alone["macs"])
        table.add(**row, **ratios)
    table.show()
    save(args.out, table)
    return verdict([], "losses and teacher as they have to be")


if __name__ == "__main__":
    raise SystemExit(main())
