"""Training passes replayed as CUDA graphs beside eager mode: images a second and memory; timm's Swin-T is the peer.

    python benchmarks/graphs_gpu.py

Forward and backward pass in bfloat16 autocast, channels-last images, no paths dropped; 224 x 224 is the whole
classifier, larger images the backbone. First the gradients of the graphs are held to those of eager mode; a model that
misses them gets no numbers. Ours are graphed by `graph_backbone`, Swin-T by `torch.cuda.make_graphed_callables` itself,
which hands out the graph's own buffers. GiB is what PyTorch holds of the card at its peak, since a graph keeps its
memory between passes; in brackets while the graph is captured.

Then batches of two at the 35 sizes that images of COCO have at (1333, 800) where one side is 800, in random order, as
detectors are trained; with graphs once all are captured. There the peer is mmdet's Swin-T in eager mode.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
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
GIB = 2**30


def build(name: str, size: tuple[int, int]) -> nn.Module:
    classifier = size == (224, 224)
    torch.manual_seed(0)
    if name != SWIN:
        return (
            mmmamba.create_backbone(name, classifier=classifier, drop_path_rate=0.0).cuda().train()
        )
    import timm

    return (
        timm.create_model(
            "swin_tiny_patch4_window7_224",
            features_only=not classifier,
            img_size=size,
            strict_img_size=False,
            drop_path_rate=0.0,
        )
        .cuda()
        .train()
    )


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
    """Of a loss in which every value counts differently: the mean of a normalised map has next to no gradient."""
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

    What is below a hundredth of the largest is measured by that: of biases before a batch norm all is rounding.
    """
    if got.keys() != want.keys():
        return float("inf"), ", ".join(sorted(got.keys() ^ want.keys()))
    size = {name: float(g.square().mean().sqrt()) for name, g in want.items()}
    floor = 1e-2 * max(size.values())
    return max(
        (float((got[name] - g).square().mean().sqrt()) / max(size[name], floor), name)
        for name, g in want.items()
    )


def clean() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Milliseconds and GiB."""
    from triton.testing import do_bench

    run()
    clean()
    return do_bench(
        run, warmup=100, rep=400, return_mode="median"
    ), torch.cuda.max_memory_reserved() / GIB


def measure(name: str, batch: int, height: int, width: int) -> tuple[list[str], str | None]:
    """A row of the table, and what is wrong, if anything is."""
    case = f"{name} {batch} x {height} x {width}"
    model = build(name, (height, width))
    x = torch.randn(batch, 3, height, width, device="cuda").to(memory_format=torch.channels_last)
    want = gradients(model, x)
    again, _ = difference(gradients(model, x), want)
    eager, memory = timed(step(model, x))
    clean()
    model = graph(name, model, x)
    step(model, x)()
    capture = torch.cuda.max_memory_reserved() / GIB
    off, where = difference(gradients(model, x), want)
    print(
        f"{case}: gradients of graphs and eager mode differ by {off:.1e} ({where}), of eager mode twice {again:.1e}",
        flush=True,
    )
    # Where eager mode does not repeat itself, a graph cannot be nearer.
    if not off <= max(TOLERANCE, 3 * again):
        return [], f"{case}: the gradient of {where} differs by {off:.1e} from eager mode's"
    graphed, memory_graphed = timed(step(model, x))
    return [
        f"{batch} x {height} x {width}",
        name,
        f"{eager:.1f}",
        f"{graphed:.1f}",
        f"{batch / eager * 1e3:.0f}",
        f"{batch / graphed * 1e3:.0f}",
        f"{eager / graphed:.2f}",
        f"{memory:.1f}",
        f"{memory_graphed:.1f} ({capture:.1f})",
    ], None


def changing_images() -> list[Tensor]:
    return [
        torch.randn(2, 3, *size, device="cuda").to(memory_format=torch.channels_last)
        for size in random.Random(0).sample(CHANGING, len(CHANGING))
    ]


def time_changing(model: nn.Module, images: list[Tensor], rounds: int = 3) -> tuple[float, float]:
    """Milliseconds of a step and GiB, after two rounds that meet every size for the first time."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    for turn in range(2 + rounds):
        if turn == 2:
            clean()
            start.record()
        for x in images:
            step(model, x)()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / (rounds * len(images)), torch.cuda.max_memory_reserved() / GIB


def measure_changing() -> tuple[list[list[str]], str | None]:
    import mmmamba.detection  # noqa: F401, I001  (before mmdet: mmcv's operators)
    from mmdet.models.backbones import SwinTransformer

    images, rows = changing_images(), []
    model = build("vmamba_t", (800, 1344))
    wanted = [gradients(model, x) for x in images[:3]]
    eager, memory = time_changing(model, images)
    graph_backbone(model, len(images))
    graphed, memory_graphed = time_changing(model, images)
    off, where = max(difference(gradients(model, x), want) for x, want in zip(images, wanted))
    print(
        f"changing sizes: gradients of graphs and eager mode differ by {off:.1e} ({where})",
        flush=True,
    )
    if not off <= TOLERANCE:
        return [], f"changing sizes: the gradient of {where} differs by {off:.1e} from eager mode's"
    case = f"2 x {len(images)} sizes"
    rows.append(
        [
            case,
            "vmamba_t",
            f"{eager:.1f}",
            f"{graphed:.1f}",
            f"{2e3 / eager:.0f}",
            f"{2e3 / graphed:.0f}",
            f"{eager / graphed:.2f}",
            f"{memory:.1f}",
            f"{memory_graphed:.1f}",
        ]
    )
    del model
    clean()
    swin = SwinTransformer(depths=[2, 2, 6, 2], drop_path_rate=0.0).cuda()
    eager, memory = time_changing(swin, images)
    rows.append(
        [
            case,
            "swin_t (mmdet)",
            f"{eager:.1f}",
            "",
            f"{2e3 / eager:.0f}",
            "",
            "",
            f"{memory:.1f}",
            "",
        ]
    )
    return rows, None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models",
        nargs="+",
        choices=sorted({case[0] for case in CASES}),
        default=sorted({case[0] for case in CASES}),
    )
    parser.add_argument("--only", choices=("fixed", "changing"), help="one part of the table")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("CUDA graphs want a CUDA device, and PyTorch sees none")
    table = Table(
        "input",
        "model",
        "ms",
        "graphed",
        "img/s",
        "graphed",
        "times as fast",
        "GiB",
        "graphed",
        title=f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16 autocast, training",
    )
    missed = []
    try:
        for case in CASES:
            if case[0] in args.models and args.only != "changing":
                row, problem = measure(*case)
                if problem:
                    missed.append(problem)
                else:
                    table.add_row(*row)
                clean()
        if args.only != "fixed":
            rows, problem = measure_changing()
            missed += [problem] if problem else []
            for row in rows:
                table.add_row(*row)
    finally:
        # Also what was measured before a capture failed.
        print("\n".join(f"MISSED {miss}" for miss in missed))
        Console(width=110).print(table)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
