"""YOLO detectors from images to boxes on a GPU: Mamba YOLO beside mmdet's YOLOX-S and RTMDet-S.

    python benchmarks/yolo_gpu.py [--models mamba_yolo_t rtmdet_s] [--dtype bfloat16] [--skip 640]

Random weights. First, for every model in float32 and under autocast: the fused form answers what
the model answers, half precision is close to it, boxes are finite; a model that fails gets no
numbers. Then milliseconds (median of CUDA events)

* to the head's maps: 8-bit images on the GPU, normalised, through the network; with --graphs also
  the network alone in a CUDA graph, for the first batch size, which shows how long a call waits for
  Python, and * to boxes: the same, decoded, scores above 0.001, NMS at 0.7 for each class, the best
  300 (YOLOX: all).

`yolo_models.py` says how random weights come to so many candidates.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import torch
from common import NAN, Column, Table, clean, median_ms, parser, peak_gib, save, verdict, wall_ms
from torch import Tensor, nn
from yolo_models import (
    MODELS_AND_CONFIGS,
    NMS,
    OVERLAP,
    batch_of,
    build,
    forms,
    images,
    prepared,
    set_candidates,
    tiles,
)

from mmcv.ops import batched_nms  # isort: skip  (ours, by yolo_models)
from mmdet.structures import DetDataSample  # isort: skip

CANDIDATES, CANDIDATES_LARGE = 1000, 8000
TOLERANCE = {torch.float32: 2e-3, torch.float16: 0.2, torch.bfloat16: 0.8}
"""Largest root mean square difference to float32, unfused, in standard deviations of a map."""
TILES_AT_ONCE = 5


class Timer:
    """Runs under autocast on one device; milliseconds and the memory at the peak."""

    def __init__(self, device: str, dtype: torch.dtype):
        self.device, self.dtype = device, dtype

    def half(self) -> torch.autocast:
        return torch.autocast(self.device, self.dtype)

    @torch.inference_mode()
    def milliseconds(self, run: Callable[[], object]) -> float:
        if self.device == "cuda":
            return median_ms(run, warmup=100, rep=400)
        return wall_ms(run, 2)

    @torch.inference_mode()
    def gibibytes(self, run: Callable[[], object]) -> float:
        """The most that is allocated at once, weights included; NaN on a CPU."""
        run()
        if self.device != "cuda":
            return NAN
        torch.cuda.reset_peak_memory_stats()
        run()
        return peak_gib()

    def to_maps(self, model: nn.Module, data: dict) -> Callable[[], object]:
        def run() -> object:
            with self.half():
                return model._forward(prepared(model, data))

        return run

    def to_boxes(self, model: nn.Module, data: dict) -> Callable[[], list[DetDataSample]]:
        def run() -> list[DetDataSample]:
            with self.half():
                return model.test_step(data)

        return run

    def tiles_to_boxes(
        self, model: nn.Module, cut: dict[tuple[int, int], Tensor]
    ) -> Callable[[], object]:
        """One image's tiles, some at a time, their boxes shifted back and merged by NMS."""
        places = list(cut)

        def run() -> object:
            found = []
            for start in range(0, len(places), TILES_AT_ONCE):
                some = places[start : start + TILES_AT_ONCE]
                with self.half():
                    samples = model.test_step(batch_of([cut[place] for place in some]))
                for (top, left), sample in zip(some, samples):
                    boxes = sample.pred_instances.bboxes.float()
                    sample.pred_instances.bboxes = boxes + boxes.new_tensor([left, top, left, top])
                    found.append(sample.pred_instances)
            found = found[0].cat(found)
            return batched_nms(found.bboxes, found.scores.float(), found.labels, NMS)

        return run

    @torch.inference_mode()
    def in_a_graph(self, model: nn.Module, data: dict) -> Callable[[], None]:
        """The network alone, its kernels launched at once."""
        x = prepared(model, data)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with (
            torch.cuda.stream(stream),
            torch.autocast(self.device, self.dtype, cache_enabled=False),
        ):
            for _ in range(3):
                model._forward(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph), torch.autocast(self.device, self.dtype, cache_enabled=False):
            model._forward(x)
        return graph.replay


def flat(outputs: tuple) -> list[Tensor]:
    return [m.float() for maps in outputs for m in maps]


def mismatch(got: list[Tensor], want: list[Tensor]) -> float:
    return max(
        float((a - b).square().mean().sqrt() / b.std().clamp(min=1e-6))
        for a, b in zip(got, want, strict=True)
    )


@torch.inference_mode()
def check(model: nn.Module, size: tuple[int, int], timer: Timer) -> tuple[str | None, str]:
    """What is wrong with the model, or None, and what was measured."""
    tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    data = images(2, *size, timer.device)
    want = flat(model._forward(prepared(model, data)))
    measured, wrong = [], []
    for form, other in forms(model):
        for dtype in (torch.float32, timer.dtype):
            with torch.autocast(timer.device, timer.dtype, enabled=dtype != torch.float32):
                got = flat(other._forward(prepared(other, data)))
            difference = mismatch(got, want)
            measured.append(f"{form} {str(dtype)[6:]} {difference:.1e}")
            # A NaN is not below anything.
            if not difference <= TOLERANCE[dtype]:
                wrong.append(
                    f"{form} in {dtype} differs by {difference:.1e}, wanted {TOLERANCE[dtype]}"
                )
        found = [sample.pred_instances for sample in timer.to_boxes(other, data)()]
        if not sum(map(len, found)):
            wrong.append(f"{form}: no boxes")
        parts = [one.bboxes for one in found] + [one.scores for one in found]
        if not all(part.isfinite().all() for part in parts):
            wrong.append(f"{form}: boxes or scores are not finite")
    torch.backends.cudnn.allow_tf32 = tf32
    return "; ".join(wrong) or None, ", ".join(measured)


def square_rows(
    name: str, model: nn.Module, args: argparse.Namespace, timer: Timer
) -> Iterator[dict]:
    """A row for each form of the model and batch: times and memory."""
    data = {batch: images(batch, args.side, args.side, timer.device) for batch in args.batches}
    for form, other in forms(model):
        for batch in args.batches:
            set_candidates(other, data[batch], args.candidates, timer.half)
            boxes = timer.to_boxes(other, data[batch])
            row = dict(model=name, form=form, batch=batch)
            row["to_maps"] = timer.milliseconds(timer.to_maps(other, data[batch]))
            row["to_boxes"] = timer.milliseconds(boxes)
            row["images"] = batch / row["to_boxes"] * 1e3
            row["gib"] = timer.gibibytes(boxes)
            if args.graphs and batch == args.batches[0]:
                row["graph"] = timer.milliseconds(timer.in_a_graph(other, data[batch]))
            yield row


def large_rows(
    name: str, model: nn.Module, args: argparse.Namespace, timer: Timer
) -> Iterator[dict]:
    """Wide image, large image whole and in tiles: milliseconds to boxes and GiB.

    Fused, channels-last.
    """
    *_, (_, fused) = forms(model)
    large = images(1, args.large, args.large, timer.device)
    cut = tiles(large["inputs"][0], args.tile)
    some = batch_of(list(cut.values())[:: max(len(cut) // TILES_AT_ONCE, 1)])
    wide = images(1, *args.wide, timer.device)
    for what, run, sample, wanted in (
        (f"{args.wide[0]} x {args.wide[1]}", timer.to_boxes(fused, wide), wide, args.candidates),
        (
            f"{args.large} x {args.large}",
            timer.to_boxes(fused, large),
            large,
            args.candidates_large,
        ),
        (
            f"in tiles of {args.tile}",
            timer.tiles_to_boxes(fused, cut),
            some,
            args.candidates_large // len(cut),
        ),
    ):
        set_candidates(fused, sample, wanted, timer.half)
        yield dict(model=name, image=what, ms=timer.milliseconds(run), gib=timer.gibibytes(run))


def arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument(
        "--models",
        nargs="+",
        choices=MODELS_AND_CONFIGS,
        default=[name for name in MODELS_AND_CONFIGS if not name.endswith("v2")],
    )
    options.add_argument(
        "--dtype", choices=["float16", "bfloat16"], default="float16", help="of autocast"
    )
    options.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try the script"
    )
    options.add_argument("--side", type=int, default=640)
    options.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    options.add_argument(
        "--wide", type=int, nargs=2, default=(736, 1280), help="1280 x 720, padded to whole strides"
    )
    options.add_argument("--large", type=int, default=4096)
    options.add_argument("--tile", type=int, default=1024)
    options.add_argument("--candidates", type=int, default=CANDIDATES, help="of an image")
    options.add_argument(
        "--candidates-large", type=int, default=CANDIDATES_LARGE, help="of the large image"
    )
    options.add_argument(
        "--graphs", action="store_true", help="time the network in a CUDA graph, too"
    )
    options.add_argument("--skip", choices=["640", "large"], help="leave one of the two tables out")
    args = options.parse_args()
    args.wide = tuple(args.wide)
    return args


def tables_of(args: argparse.Namespace) -> tuple[Table, Table]:
    about = f"{args.dtype} autocast, milliseconds"
    square = Table(
        "square",
        f"{args.side} x {args.side}, {args.candidates} candidates an image, {about}",
        Column("model", "model"),
        Column("form", "form"),
        Column("batch", "batch"),
        Column("to maps", "to_maps", ".2f"),
        Column("to boxes", "to_boxes", ".2f"),
        Column("boxes img/s", "images", ".0f"),
        Column("GiB", "gib", ".2f"),
        Column("CUDA graph", "graph", ".2f"),
    )
    large = Table(
        "large",
        f"To boxes, fused, channels-last; {args.candidates} and {args.candidates_large} "
        f"candidates, tiles overlap by {OVERLAP:.0%}, {TILES_AT_ONCE} at a time, {about}",
        Column("model", "model"),
        Column("image", "image"),
        Column("ms", "ms", ".1f"),
        Column("GiB", "gib", ".2f"),
    )
    return square, large


def main() -> int:
    args = arguments()
    timer = Timer(args.device, getattr(torch, args.dtype))
    square, large = tables_of(args)
    wrong, checks = [], []
    for name in args.models:
        start = time.time()
        size = (args.side, args.side)
        model = build(name, size, args.device)
        set_candidates(model, images(2, *size, args.device), args.candidates, timer.half)
        problem, measured = check(model, size, timer)
        checks.append(f"{name}: {measured}")
        if problem:
            wrong.append(f"{name}: {problem}")
            continue
        if args.skip != "640":
            for row in square_rows(name, model, args, timer):
                square.add(**row)
        if args.skip != "large":
            for row in large_rows(name, model, args, timer):
                large.add(**row)
        del model
        clean()
        print(f"{name}: {time.time() - start:.0f} s", flush=True)
    print(
        "Differences to float32 as built (root mean square, in standard deviations):",
        *checks,
        sep="\n  ",
    )
    tables = [table for table in (square, large) if table.rows]
    for table in tables:
        table.show(width=130)
    save(args.out, *tables)
    return verdict(wrong, "all fused forms and half precision agree")


if __name__ == "__main__":
    raise SystemExit(main())
