"""The whole training step of Mask R-CNN on a GPU: mmdet with Swin-T, mmdet with VMamba-T, and this package's config.

    python benchmarks/training_step_gpu.py --data .data/coco_mini

Batches of 8 real images at 1333 x 800, bfloat16 autocast, AdamW. First the losses of mmdet's heads and ours on one
batch, with the same weights, must agree; where they do not, nothing is timed. Then: milliseconds a step with every loss
read, as mmengine's hooks read them; where they go, part by part with the GPU waited for in between, and how often a
part waits for the GPU by itself; images a second from files with many workers. `--runs "ours, VMamba-T, graphed"
--brief` replays the backbone as CUDA graphs, one for each of the eight batches. Without a GPU it tries itself out on
smaller heads.
"""

import argparse
import gc
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import mmmamba.detection  # noqa: E402, F401, I001  (before mmdet: mmcv's operators)
import mmdet  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.optim import OptimWrapper, build_optim_wrapper  # noqa: E402
from mmengine.registry import MODELS  # noqa: E402
from mmengine.runner import Runner, set_random_seed  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import nn  # noqa: E402

from mmmamba.acceleration.graphed import graph_backbone  # noqa: F401

OURS = Path(__file__).parents[1] / "configs/mask_rcnn/vmamba_t_1x_coco.py"
STOCK = Path(mmdet.__file__).parent / ".mim/configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RUNS = ("mmdet, Swin-T", "mmdet, VMamba-T", "ours, VMamba-T")
GRAPHED = "ours, VMamba-T, graphed"
TOLERANCE = 1e-4


def load_config(run: str, args: argparse.Namespace) -> Config:
    """The config of a run: stock ones are mmdet's own file, with our backbone where the run says so."""
    ours = Config.fromfile(OURS)
    cfg = ours if run.startswith("ours") else Config.fromfile(STOCK)
    if run == "mmdet, VMamba-T":
        cfg.model.backbone, cfg.optim_wrapper.paramwise_cfg = (
            ours.model.backbone,
            ours.optim_wrapper.paramwise_cfg,
        )
    cfg.model.backbone.init_cfg = None
    if DEVICE == "cuda":
        cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype="bfloat16")
    loader = cfg.train_dataloader
    loader.update(batch_size=args.batch, num_workers=0, persistent_workers=False)
    loader.dataset.update(
        data_root=str(args.data),
        ann_file="annotations/instances_train.json",
        data_prefix=dict(img="train/"),
    )
    for transform in loader.dataset.pipeline:
        if transform.type == "Resize":
            transform.scale = args.scale
    if DEVICE == "cpu":
        cfg.model.roi_head.bbox_head.fc_out_channels = 16
        cfg.model.train_cfg.rcnn.sampler.num = 32
        cfg.model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=50)
    return cfg


def build(cfg: Config) -> tuple[nn.Module, OptimWrapper]:
    set_random_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to(DEVICE).train()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def some_batches(cfg: Config, count: int) -> list[dict]:
    """The same images, flipped alike, whichever config they are loaded by."""
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    set_random_seed(0)
    return list(islice(loader, count))


def step(model: nn.Module, wrapper: OptimWrapper, batch: dict) -> dict[str, float]:
    return {name: value.item() for name, value in model.train_step(batch, wrapper).items()}


def now() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def check_losses(args: argparse.Namespace) -> bool:
    """Losses and the size of the gradient of mmdet's heads and ours, from the same weights and batch, in float32."""
    found = {}
    for run in RUNS[1:]:
        cfg = load_config(run, args)
        cfg.model.backbone.drop_path_rate = 0.0
        # Both draw at random, in another way: here they take all there is.
        cfg.model.train_cfg.rpn.sampler.num = cfg.model.train_cfg.rcnn.sampler.num = 10**6
        model, _ = build(cfg)
        data = model.data_preprocessor(some_batches(cfg, 1)[0], True)
        total, named = model.parse_losses(model(**data, mode="loss"))
        total.backward()
        norms = torch._foreach_norm([p.grad for p in model.parameters() if p.grad is not None])
        found[run] = {
            **{k: v.item() for k, v in named.items()},
            "gradient norm": torch.stack(norms).norm().item(),
        }
        del model, data, total, norms
    wanted, got = found.values()
    table = Table("", *RUNS[1:], title="the same batch, all anchors and regions, float32")
    agree = wanted.keys() == got.keys()
    for name, value in wanted.items():
        agree &= abs(got.get(name, float("nan")) - value) <= TOLERANCE * max(abs(value), 1e-3)
        table.add_row(name, f"{value:.6f}", f"{got.get(name, float('nan')):.6f}")
    Console(width=100).print(table)
    return agree


def time_steps(
    run: Callable[[dict], object], batches: Iterator[dict], warmup: int, count: int
) -> float:
    """Milliseconds a step."""
    for batch in islice(batches, warmup):
        run(batch)
    start = now()
    for batch in islice(batches, count):
        run(batch)
    return (now() - start) / count * 1e3


class Parts:
    """Time spent in functions, without what they spend in others of them, and how often each waits for the GPU."""

    def __init__(self, model: nn.Module, wrapper: OptimWrapper):
        self.milliseconds, self.waits, self.inside = Counter(), Counter(), [[0.0, 0]]
        self.caught: list = []
        for label, owner, name in (
            ("copying, normalising, padding", model.data_preprocessor, "forward"),
            ("backbone", model.backbone, "forward"),
            ("neck", model.neck, "forward"),
            ("RPN layers", model.rpn_head, "forward"),
            ("RPN targets and losses", model.rpn_head, "loss_by_feat"),
            ("proposals and NMS", model.rpn_head, "predict_by_feat"),
            ("assigning and sampling RoIs", model.roi_head, "loss"),
            ("box head", model.roi_head, "bbox_loss"),
            ("mask head", model.roi_head, "mask_loss"),
            ("mask targets", model.roi_head.mask_head, "get_targets"),
            ("backward", wrapper, "backward"),
            ("optimizer", wrapper, "step"),
            ("zeroing gradients", wrapper, "zero_grad"),
        ):
            setattr(owner, name, self.timed(label, getattr(owner, name)))

    def timed(self, label: str, function: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            start, seen = now(), len(self.caught)
            self.inside.append([0.0, 0])
            result = function(*args, **kwargs)
            spent = (now() - start) * 1e3
            # Those of this file are `now` itself.
            waited = sum(warning.filename != __file__ for warning in self.caught[seen:])
            inner = self.inside.pop()
            self.milliseconds[label] += spent - inner[0]
            self.waits[label] += waited - inner[1]
            self.inside[-1][0] += spent
            self.inside[-1][1] += waited
            return result

        return call


def break_down(cfg: Config, batches: list[dict], count: int = 4) -> Parts:
    model, wrapper = build(cfg)
    for batch in batches[:3]:
        step(model, wrapper, batch)
    parts = Parts(model, wrapper)
    for batch in islice(cycle(batches), count):
        step(model, wrapper, batch)
    parts.milliseconds = Counter(
        {label: spent / count for label, spent in parts.milliseconds.items()}
    )
    parts.waits.clear()
    if DEVICE == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as parts.caught:
            warnings.simplefilter("always")
            step(model, wrapper, batches[0])
        torch.cuda.set_sync_debug_mode("default")
        places = Counter(f"{Path(w.filename).name}:{w.lineno}" for w in parts.caught)
        print("waits:", ", ".join(f"{place} {times}" for place, times in places.most_common(12)))
    return parts


def kernels(cfg: Config, batches: list[dict], shown: int) -> float:
    """Milliseconds of a step in which the GPU computes, and the kernels that take longest, printed."""
    from torch.profiler import ProfilerActivity, profile

    model, wrapper = build(cfg)
    for batch in batches[:3]:
        step(model, wrapper, batch)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for batch in batches[:2]:
            step(model, wrapper, batch)
        now()
    times = Counter()
    for event in profiler.key_averages():
        times[event.key] += event.self_device_time_total / 2e3
    table = Table("kernel", "ms a step", title=f"{sum(times.values()):.0f} ms of GPU work a step")
    for name, spent in times.most_common(shown):
        table.add_row(name[:110], f"{spent:.2f}")
    Console(width=130).print(table)
    return sum(times.values())


def from_files(cfg: Config, args: argparse.Namespace) -> tuple[float, float]:
    """Images a second that the loader delivers, and that training through it reaches; NaN without shared memory."""
    free = shutil.disk_usage("/dev/shm").free
    if args.workers and free < 2**32:
        print(
            f"workers hand over images in shared memory, of which {free / 2**20:.0f} MiB are free: not measured"
        )
        return float("nan"), float("nan")
    cfg.train_dataloader.update(
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        sampler=dict(type="InfiniteSampler", shuffle=True),
    )
    loader = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
    alone = time_steps(lambda batch: None, loader, 2 * args.workers + 1, 2 * args.steps)
    model, wrapper = build(cfg)
    training = time_steps(partial(step, model, wrapper), loader, 5, args.steps)
    del loader
    return args.batch / alone * 1e3, args.batch / training * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--scale", type=int, nargs=2, default=(1333, 800))
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--kernels", type=int, default=25, help="kernels listed for each run")
    parser.add_argument("--runs", nargs="+", choices=(*RUNS, GRAPHED), default=RUNS)
    parser.add_argument(
        "--brief", action="store_true", help="no parts, no kernels, no loading from files"
    )
    args = parser.parse_args()
    args.scale = tuple(args.scale)
    register_all_modules()
    MMLogger.get_instance("benchmark", log_level="ERROR")
    if not check_losses(args):
        sys.exit("the losses differ: nothing is timed")
    speeds, parts = [], {}
    for run in args.runs:
        cfg = load_config(run, args)
        batches = some_batches(cfg, 8 if DEVICE == "cuda" else 1)
        model, wrapper = build(cfg)
        if run == GRAPHED:
            graph_backbone(model.backbone, len(batches))
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        spent = time_steps(
            partial(step, model, wrapper), cycle(batches), 1 + args.steps // 2, args.steps
        )
        memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else float("nan")
        model = wrapper = None
        gc.collect()
        print(f"{run}: {spent:.0f} ms a step", flush=True)
        busy, files = float("nan"), (float("nan"), float("nan"))
        if not args.brief:
            parts[run] = break_down(cfg, batches)
            busy = kernels(cfg, batches, args.kernels) if DEVICE == "cuda" else busy
            files = from_files(cfg, args)
        speeds.append((run, spent, busy, memory, *files))
        if DEVICE == "cuda":
            torch.cuda.empty_cache()
    if parts:
        table = Table(
            "part: ms, waits for the GPU", *args.runs, title="GPU waited for after each part"
        )
        for label in parts[args.runs[0]].milliseconds:
            table.add_row(
                label, *(f"{p.milliseconds[label]:.1f}, {p.waits[label]}" for p in parts.values())
            )
        table.add_row(
            "sum", *(f"{p.milliseconds.total():.1f}, {p.waits.total()}" for p in parts.values())
        )
        Console(width=110).print(table)
    table = Table(
        "run",
        "ms a step",
        "GPU works, ms",
        "times as fast",
        "GiB",
        "files to batches, img/s",
        "files to step, img/s",
        title=f"{torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU'}, torch {torch.__version__}, "
        f"{args.batch} images of {args.scale}, {args.workers} workers",
    )
    for run, spent, busy, memory, alone, training in speeds:
        table.add_row(
            run,
            f"{spent:.0f}",
            f"{busy:.0f}",
            f"{speeds[0][1] / spent:.2f}",
            f"{memory:.1f}",
            f"{alone:.0f}",
            f"{training:.0f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
