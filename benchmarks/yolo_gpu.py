"""YOLO detectors from images to boxes on a GPU: Mamba YOLO beside mmdet's YOLOX-S and RTMDet-S.

    python benchmarks/yolo_gpu.py [--models mamba_yolo_t rtmdet_s] [--dtype bfloat16] [--skip 640]

Random weights. First, for every model in float32 and under autocast: the fused form answers what the model answers,
half precision is close to it, boxes are finite; a model that fails gets no numbers. Then milliseconds (median of CUDA
events)

* to the head's maps: 8-bit images on the GPU, normalised, through the network; with --graphs also the network alone in
  a CUDA graph, for the first batch size, which shows how long a call waits for Python, and
* to boxes: the same, decoded, scores above 0.001, NMS at 0.7 for each class, the best 300 (YOLOX: all).

How many boxes pass 0.001 decides what NMS costs, and random weights let all pass, or none. The last class layer of each
model is therefore scaled to logits of standard deviation 1.5 and shifted until the stated number of candidates passes.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import mmmamba.detection  # noqa: E402, F401  isort: skip  (before mmdet; registers the detectors)
import mmdet  # noqa: E402
from mmcv.ops import batched_nms  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402

from mmmamba.acceleration.fusing import fuse  # noqa: F401

OURS = Path(__file__).parents[1] / "configs/mamba_yolo"
PEERS = Path(mmdet.__file__).parent / ".mim/configs"
MODELS_AND_CONFIGS = {
    "mamba_yolo_t": OURS / "mamba_yolo_t_300e_coco.py",
    "mamba_yolo_b": OURS / "mamba_yolo_b_300e_coco.py",
    "mamba_yolo_l": OURS / "mamba_yolo_l_300e_coco.py",
    "mamba_yolo_t_v2": OURS / "mamba_yolo_t_v2_300e_coco.py",
    "yolox_s": PEERS / "yolox/yolox_s_8xb8-300e_coco.py",
    "rtmdet_s": PEERS / "rtmdet/rtmdet_s_8xb32-300e_coco.py",
}
THRESHOLD = 0.001
NMS = dict(type="nms", iou_threshold=0.7)
TEST_CFG = ConfigDict(
    score_thr=THRESHOLD, nms_pre=30000, min_bbox_size=0, multi_label=True, nms=NMS, max_per_img=300
)
CANDIDATES, CANDIDATES_LARGE = 1000, 8000
SPREAD = 1.5
DISTANCE = (4.0, 0.7)
"""Mean and standard deviation of the distances to a box's sides, in strides."""
TOLERANCE = {torch.float32: 2e-3, torch.float16: 0.2, torch.bfloat16: 0.8}
"""Largest root mean square difference to float32, unfused, in standard deviations of a map."""
OVERLAP = 0.25
TILES_AT_ONCE = 5


def build(name: str, size: tuple[int, int], device: str) -> nn.Module:
    """The config's detector with random weights and, by one batch of noise, batch norms that fit them."""
    cfg = Config.fromfile(MODELS_AND_CONFIGS[name])
    init_default_scope("mmdet")
    cfg.model.backbone.init_cfg = None
    cfg.model.test_cfg = TEST_CFG
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(device)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None
    x = prepared(model, images(4, *size, device))
    with torch.no_grad():
        model.train()._forward(x)
    return model.eval()


def images(batch: int, height: int, width: int, device: str) -> dict:
    """8-bit images of coarse and fine noise on the device, as a data loader hands them over."""
    # Of fine noise alone all positions look alike further on, and batch norms then enlarge what rounding left of it.
    random = torch.Generator().manual_seed(1)
    coarse = nn.functional.interpolate(
        torch.rand(batch, 3, 9, 9, generator=random), (height, width), mode="bilinear"
    )
    fine = torch.rand(batch, 3, height, width, generator=random)
    pixels = (255 * (0.7 * coarse + 0.3 * fine)).to(device, torch.uint8)
    return batch_of(list(pixels))


def prepared(model: nn.Module, data: dict) -> Tensor:
    return model.data_preprocessor(data, False)["inputs"]


def class_layers(model: nn.Module) -> list[nn.Conv2d]:
    """The last class layer of each level. YOLOX's objectness, of which scores are the product, becomes 1."""
    head = model.bbox_head
    if hasattr(head, "multi_level_conv_obj"):
        for layer in head.multi_level_conv_obj:
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, 20.0)
        return list(head.multi_level_conv_cls)
    return (
        list(head.rtm_cls)
        if hasattr(head, "rtm_cls")
        else [branch[-1] for branch in head.cls_preds]
    )


def standardise(layer: nn.Conv2d, outputs: Tensor, mean: float, std: float) -> None:
    """Change a layer that gave these outputs so that it gives such of this mean and deviation."""
    factor = std / outputs.float().std()
    layer.bias.sub_(outputs.float().mean()).mul_(factor).add_(mean)
    layer.weight.mul_(factor)


@torch.no_grad()
def set_candidates(model: nn.Module, data: dict, wanted: int, timer: "Timer") -> None:
    """Change the class layers so that on average so many scores of an image pass the threshold."""
    layers = class_layers(model)
    x = prepared(model, data)

    def forward() -> tuple[list[Tensor], ...]:
        # Entered anew each time: autocast keeps the weights that it cast.
        with timer.half():
            return model._forward(x)

    outputs = forward()
    for layer, logits in zip(layers, outputs[0]):
        standardise(layer, logits, 0.0, SPREAD)
    # Random distances of RTMDet may be negative, and such boxes are dropped.
    strides = [stride for stride, _ in model.bbox_head.prior_generator.strides]
    for layer, distances, stride in zip(
        getattr(model.bbox_head, "rtm_reg", ()), outputs[1], strides
    ):
        standardise(layer, distances / stride, *DISTANCE)
    logits_BPC = torch.cat([m.float().flatten(2).transpose(1, 2) for m in forward()[0]], 1)
    # YOLOX takes a cell's best class, the others every class.
    scores_BN = (
        logits_BPC.amax(2)
        if hasattr(model.bbox_head, "multi_level_conv_obj")
        else logits_BPC.flatten(1)
    )
    if scores_BN.shape[1] < wanted:
        raise SystemExit(
            f"an image has {scores_BN.shape[1]} scores, fewer than the {wanted} candidates wanted"
        )
    last = scores_BN.flatten().topk(wanted * len(scores_BN)).values[-1]
    shift = torch.logit(torch.tensor(THRESHOLD)) - last
    for layer in layers:
        layer.bias += shift.to(layer.bias)


def forms(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield "as built", model
    fused = fuse(model)
    yield "fused", fused
    yield "fused, channels-last", fused.to(memory_format=torch.channels_last)


class Timer:
    """Runs under autocast on one device; milliseconds and the memory at the peak."""

    def __init__(self, device: str, dtype: torch.dtype):
        self.device, self.dtype = device, dtype

    def half(self) -> torch.autocast:
        return torch.autocast(self.device, self.dtype)

    @torch.inference_mode()
    def milliseconds(self, run: Callable[[], object]) -> float:
        if self.device == "cuda":
            from triton.testing import do_bench

            return do_bench(run, warmup=100, rep=400, return_mode="median")
        times = []
        for _ in range(2):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)

    @torch.inference_mode()
    def gibibytes(self, run: Callable[[], object]) -> float:
        """The most that is allocated at once, weights included; 0 on a CPU."""
        if self.device != "cuda":
            run()
            return 0.0
        run()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() / 2**30

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
            for some in (
                places[i : i + TILES_AT_ONCE] for i in range(0, len(places), TILES_AT_ONCE)
            ):
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


def tiles(image: Tensor, tile: int) -> dict[tuple[int, int], Tensor]:
    """Squares that overlap by a quarter, by their top and left."""
    step = int(tile * (1 - OVERLAP))
    starts = [sorted({*range(0, side - tile, step), side - tile}) for side in image.shape[1:]]
    return {
        (top, left): image[:, top : top + tile, left : left + tile]
        for top in starts[0]
        for left in starts[1]
    }


def batch_of(inputs: list[Tensor]) -> dict:
    shape = tuple(inputs[0].shape[1:])
    meta = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    return dict(inputs=inputs, data_samples=[DetDataSample(metainfo=meta) for _ in inputs])


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
        if not all(
            torch.isfinite(part).all() for one in found for part in (one.bboxes, one.scores)
        ):
            wrong.append(f"{form}: boxes or scores are not finite")
    torch.backends.cudnn.allow_tf32 = tf32
    return "; ".join(wrong) or None, ", ".join(measured)


def square_rows(
    name: str, model: nn.Module, args: argparse.Namespace, timer: Timer
) -> Iterator[list[str]]:
    """A form of the model each: times and memory of every batch."""
    data = {batch: images(batch, args.side, args.side, timer.device) for batch in args.batches}
    for form, other in forms(model):
        cells = []
        for batch in args.batches:
            set_candidates(other, data[batch], args.candidates, timer)
            maps, boxes = timer.to_maps(other, data[batch]), timer.to_boxes(other, data[batch])
            times = [timer.milliseconds(run) for run in (maps, boxes)]
            cells += [
                *(f"{t:.2f}" for t in times),
                f"{batch / times[1] * 1e3:.0f}",
                f"{timer.gibibytes(boxes):.2f}",
            ]
        if args.graphs:
            cells.append(
                f"{timer.milliseconds(timer.in_a_graph(other, data[args.batches[0]])):.2f}"
            )
        yield [name, form, *cells]


def large_row(name: str, model: nn.Module, args: argparse.Namespace, timer: Timer) -> list[str]:
    """Wide image, large image whole and in tiles: milliseconds to boxes and GiB. Fused, channels-last."""
    cells = []
    *_, (_, fused) = forms(model)
    large = images(1, args.large, args.large, timer.device)
    cut = tiles(large["inputs"][0], args.tile)
    some = batch_of(list(cut.values())[:: max(len(cut) // TILES_AT_ONCE, 1)])
    wide = images(1, *args.wide, timer.device)
    for run, sample, wanted in (
        (timer.to_boxes(fused, wide), wide, args.candidates),
        (timer.to_boxes(fused, large), large, args.candidates_large),
        (timer.tiles_to_boxes(fused, cut), some, args.candidates_large // len(cut)),
    ):
        set_candidates(fused, sample, wanted, timer)
        cells += [f"{timer.milliseconds(run):.1f}", f"{timer.gibibytes(run):.2f}"]
    return [name, *cells]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models",
        nargs="+",
        choices=MODELS_AND_CONFIGS,
        default=[name for name in MODELS_AND_CONFIGS if not name.endswith("v2")],
    )
    parser.add_argument(
        "--dtype", choices=["float16", "bfloat16"], default="float16", help="of autocast"
    )
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try the script"
    )
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument(
        "--wide", type=int, nargs=2, default=(736, 1280), help="1280 x 720, padded to whole strides"
    )
    parser.add_argument("--large", type=int, default=4096)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--candidates", type=int, default=CANDIDATES, help="of an image")
    parser.add_argument(
        "--candidates-large", type=int, default=CANDIDATES_LARGE, help="of the large image"
    )
    parser.add_argument(
        "--graphs", action="store_true", help="time the network in a CUDA graph, too"
    )
    parser.add_argument("--skip", choices=["640", "large"], help="leave one of the two tables out")
    args = parser.parse_args()
    args.wide = tuple(args.wide)
    timer = Timer(args.device, getattr(torch, args.dtype))
    machine = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    about = f"{machine}, torch {torch.__version__}, {args.dtype} autocast, milliseconds"
    columns = [
        f"{batch} x: {what}"
        for batch in args.batches
        for what in ("to maps", "to boxes", "boxes img/s", "GiB")
    ]
    square = Table(
        "model",
        "form",
        *columns,
        *["1 x: CUDA graph"] * args.graphs,
        title=f"{args.side} x {args.side}, {args.candidates} candidates an image. {about}",
    )
    sizes = [
        f"{args.wide[0]} x {args.wide[1]}",
        f"{args.large} x {args.large}",
        f"in tiles of {args.tile}",
    ]
    large = Table(
        "model",
        *(f"{size}: {what}" for size in sizes for what in ("ms", "GiB")),
        title=f"To boxes, fused, channels-last; {args.candidates} and {args.candidates_large} candidates, "
        f"tiles overlap by {OVERLAP:.0%}, {TILES_AT_ONCE} at a time. {about}",
    )
    wrong, checks = {}, []
    for name in args.models:
        start = time.time()
        model = build(name, (args.side, args.side), args.device)
        set_candidates(model, images(2, args.side, args.side, args.device), args.candidates, timer)
        problem, measured = check(model, (args.side, args.side), timer)
        checks.append(f"{name}: {measured}")
        if problem:
            wrong[name] = problem
            continue
        if args.skip != "640":
            for row in square_rows(name, model, args, timer):
                square.add_row(*row)
            square.add_section()
        if args.skip != "large":
            large.add_row(*large_row(name, model, args, timer))
        del model
        gc.collect()
        torch.cuda.empty_cache()
        print(f"{name}: {time.time() - start:.0f} s", flush=True)
    print(
        "Differences to float32 as built (root mean square, in standard deviations):",
        *checks,
        sep="\n  ",
    )
    for name, problem in wrong.items():
        print(f"{name} FAILED: {problem}")
    console = Console(width=180)
    for table, skipped in ((square, "640"), (large, "large")):
        if args.skip != skipped:
            console.print(table)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
