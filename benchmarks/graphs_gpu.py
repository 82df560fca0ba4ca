"""Training passes replayed as CUDA graphs beside eager mode; timm's Swin-T is the peer.

    python benchmarks/graphs_gpu.py

Forward and backward pass in bfloat16 autocast, channels-last images, no paths dropped; 224 x 224 is
the whole classifier, larger images the backbone. First the gradients of the graphs are held to
those of eager mode; a model that misses them gets no numbers. Ours are graphed by `graph_backbone`,
Swin-T by `torch.cuda.make_graphed_callables` itself, which hands out the graph's own buffers. GiB
is what PyTorch holds of the card at its peak, since a graph keeps its memory between passes; in
brackets while the graph is captured.

Then batches of two at the 35 sizes that images of COCO have at (1333, 800) where one side is 800,
in random order, as detectors are trained; with graphs once all are captured. There the peer is
mmdet's Swin-T in eager mode.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from common import GIB, Column, Table, clean, mean_ms, median_ms, parser, save, verdict
from peers import timm_peer
from torch import Tensor, nn

import mmmamba
from mmmamba.acceleration.graphed import graph_backbone

SWIN = "swin_t"
CASES = [
    ("vmamba_t", 2, 800, 1344),
    ("vmamba_t", 8, 800, 1344),
    ("mambavision_t", 128, 224, 224),
    ("vmamba_t", 128, 224, 224),
    (SWIN, 2, 800, 1344),
    (SWIN, 8, 800, 1344),
    (SWIN, 128, 224, 224),
]
CHANGING = [(800, side) for side in range(800, 1345, 32)] + [
    (side, 800) for side in range(832, 1345, 32)
]
TOLERANCE = 0.02


class Missed(Exception):
    """What was wanted and not reached."""


def build(name: str, size: tuple[int, int]) -> nn.Module:
    classifier = size == (224, 224)
    torch.manual_seed(0)
    if name == SWIN:
        model = timm_peer(SWIN, size, classifier, drop_path_rate=0.0)
    else:
        model = mmmamba.create_backbone(name, classifier=classifier, drop_path_rate=0.0)
    return model.cuda().train()


def graph(name: str, model: nn.Module, x: Tensor) -> nn.Module:
    if name != SWIN:
        return graph_backbone(model)
    with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        return torch.cuda.make_graphed_callables(model, (x.clone(),), allow_unused_input=True)


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.autocast("cuda", torch.bfloat16):
        found = model(x)
    return [found] if isinstance(found, Tensor) else list(found)


def step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        sum(m.float().mean() for m in outputs(model, x)).backward()
        model.zero_grad(set_to_none=True)

    return run


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of a loss in which every value counts differently.

    The mean of a normalised map has next to no gradient.
    """
    model.zero_grad(set_to_none=True)
    maps = outputs(model, x)
    weights = (torch.linspace(-1, 1, m.numel(), device=m.device).view_as(m) for m in maps)
    # Laid out as the maps are, since other layouts take other kernels.
    sum(
        (m.float() * torch.empty_like(m, dtype=torch.float32).copy_(w)).sum()
        for m, w in zip(maps, weights)
    ).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def difference(got: dict[str, Tensor], want: dict[str, Tensor]) -> tuple[float, str]:
    """The largest, as a part of the gradient's own size, and where.

    What is below a hundredth of the largest is measured by that: of biases before a batch norm all
    is rounding.
    """
    if got.keys() != want.keys():
        return float("inf"), ", ".join(sorted(got.keys() ^ want.keys()))
    size = {name: float(g.square().mean().sqrt()) for name, g in want.items()}
    floor = 1e-2 * max(size.values())
    return max(
        (float((got[name] - g).square().mean().sqrt()) / max(size[name], floor), name)
        for name, g in want.items()
    )


class Speed(NamedTuple):
    """Time of a step, and what PyTorch held of the card at its peak."""

    ms: float
    gib: float


def timed(run: Callable[[], None]) -> Speed:
    run()
    clean()
    spent = median_ms(run, warmup=100, rep=400)
    return Speed(spent, torch.cuda.max_memory_reserved() / GIB)


def row(case: str, name: str, batch: int, eager: Speed, graphed: Speed | None) -> dict:
    """What the table shows of both."""
    found = dict(input=case, model=name, eager_ms=eager.ms, eager_gib=eager.gib)
    found["eager_images"] = batch / eager.ms * 1e3
    if graphed is not None:
        found |= dict(graphed_ms=graphed.ms, graphed_gib=graphed.gib, times=eager.ms / graphed.ms)
        found["graphed_images"] = batch / graphed.ms * 1e3
    return found


def measure(name: str, batch: int, height: int, width: int) -> dict:
    """A row of the table.

    Raises:
        Missed: graphs give other gradients than eager mode.
    """
    case = f"{batch} x {height} x {width}"
    model = build(name, (height, width))
    x = torch.randn(batch, 3, height, width, device="cuda").to(memory_format=torch.channels_last)
    want = gradients(model, x)
    again, _ = difference(gradients(model, x), want)
    eager = timed(step(model, x))
    clean()
    model = graph(name, model, x)
    step(model, x)()
    capture = torch.cuda.max_memory_reserved() / GIB
    off, where = difference(gradients(model, x), want)
    print(
        f"{name} {case}: gradients of graphs and eager mode differ by {off:.1e} ({where}), of "
        f"eager mode twice {again:.1e}",
        flush=True,
    )
    # Where eager mode does not repeat itself, a graph cannot be nearer.
    if not off <= max(TOLERANCE, 3 * again):
        raise Missed(f"{name} {case}: the gradient of {where} differs by {off:.1e} from eager mode")
    return row(case, name, batch, eager, timed(step(model, x))) | dict(capture_gib=capture)


def changing_images() -> list[Tensor]:
    return [
        torch.randn(2, 3, *size, device="cuda").to(memory_format=torch.channels_last)
        for size in random.Random(0).sample(CHANGING, len(CHANGING))
    ]


def time_changing(model: nn.Module, images: list[Tensor], rounds: int = 3) -> Speed:
    """A step after two rounds that meet every size for the first time."""

    def one_round() -> None:
        for x in images:
            step(model, x)()

    for _ in range(2):
        one_round()
    clean()
    spent = mean_ms(one_round, rounds) / len(images)
    return Speed(spent, torch.cuda.max_memory_reserved() / GIB)


def measure_changing(table: Table) -> None:
    """Rows of changing sizes.

    Raises:
        Missed: graphs give other gradients than eager mode.
    """
    import mmmamba.detection  # noqa: F401, I001  (before mmdet: mmcv's operators)
    from mmdet.models.backbones import SwinTransformer

    images = changing_images()
    case = f"2 x {len(images)} sizes"
    model = build("vmamba_t", (800, 1344))
    wanted = [gradients(model, x) for x in images[:3]]
    eager = time_changing(model, images)
    graph_backbone(model, len(images))
    graphed = time_changing(model, images)
    off, where = max(difference(gradients(model, x), want) for x, want in zip(images, wanted))
    print(
        f"changing sizes: gradients of graphs and eager mode differ by {off:.1e} ({where})",
        flush=True,
    )
    if not off <= TOLERANCE:
        raise Missed(f"changing sizes: the gradient of {where} differs by {off:.1e} from eager's")
    table.add(**row(case, "vmamba_t", 2, eager, graphed))
    del model
    clean()
    swin = SwinTransformer(depths=[2, 2, 6, 2], drop_path_rate=0.0).cuda()
    table.add(**row(case, "swin_t (mmdet)", 2, time_changing(swin, images), None))


def main() -> int:
    names = sorted({case[0] for case in CASES})
    options = parser(__doc__)
    options.add_argument("--models", nargs="+", choices=names, default=names)
    options.add_argument("--only", choices=("fixed", "changing"), help="one part of the table")
    args = options.parse_args()
    if not torch.cuda.is_available():
        options.error("CUDA graphs want a CUDA device, and PyTorch sees none")
    columns = (
        Column("input", "input"),
        Column("model", "model"),
        Column("ms", "eager_ms", ".1f"),
        Column("graphed", "graphed_ms", ".1f"),
        Column("img/s", "eager_images", ".0f"),
        Column("graphed", "graphed_images", ".0f"),
        Column("times as fast", "times", ".2f"),
        Column("GiB", "eager_gib", ".1f"),
        Column("graphed", "graphed_gib", ".1f"),
        Column("while captured", "capture_gib", ".1f"),
    )
    fixed = Table("fixed", "one size, bfloat16 autocast, training", *columns)
    changing = Table("changing", "changing sizes, bfloat16 autocast, training", *columns)
    missed = []
    try:
        for case in CASES:
            if case[0] in args.models and args.only != "changing":
                try:
                    fixed.add(**measure(*case))
                except Missed as miss:
                    missed.append(str(miss))
                clean()
        if args.only != "fixed":
            try:
                measure_changing(changing)
            except Missed as miss:
                missed.append(str(miss))
    finally:
        # Also what was measured before a capture failed.
        for table in (fixed, changing):
            table.show()
        save(args.out, fixed, changing)
    return verdict(missed, "all gradients are eager mode's")


if __name__ == "__main__":
    sys.exit(main())
