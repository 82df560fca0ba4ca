"""The whole training step of Mask R-CNN: mmdet with Swin-T and with VMamba-T, and our config.

    python benchmarks/training_step_gpu.py --data .data/coco_mini

Batches of 8 real images at 1333 x 800, bfloat16 autocast, AdamW. First the losses of mmdet's heads
and ours on one batch, with the same weights, must agree; where they do not, nothing is timed. Then:
milliseconds a step with every loss read, as mmengine's hooks read them; where they go, part by part
with the GPU waited for in between, and how often a part waits for the GPU by itself; images a
second from files with many workers. Ours runs with CUDA graphs as by default, after as many steps
as sizes take to be captured; its parts and kernels are those of eager mode. Without a GPU it tries
itself out on smaller heads.
"""

import argparse
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import common
import torch
from common import DEVICE, NAN, ROOT, Column, Table, clean, now, parser, peak_gib, save
from torch import nn

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
import mmdet
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner, set_random_seed

from mmmamba.acceleration.graphs import graph_model

OURS = ROOT / "configs/mask_rcnn/vmamba_t_1x_coco.py"
STOCK = Path(mmdet.__file__).parent / ".mim/configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py"
RUNS = ("mmdet, Swin-T", "mmdet, VMamba-T", "ours, VMamba-T")
OFTEN = 3
"""After a size came so often it is captured."""
TOLERANCE = 1e-4


def load_config(run: str, args: argparse.Namespace) -> Config:
    """The config of a run: stock ones are mmdet's own file, with our backbone where it says so."""
    ours = Config.fromfile(OURS)
    cfg = ours if run.startswith("ours") else Config.fromfile(STOCK)
    if run == "mmdet, VMamba-T":
        cfg.model.backbone = ours.model.backbone
        cfg.optim_wrapper.paramwise_cfg = ours.optim_wrapper.paramwise_cfg
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


def check_losses(args: argparse.Namespace) -> bool:
    """Whether mmdet's heads and ours have the same losses and size of the gradient.

    From the same weights and batch, in float32.
    """
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
    columns = [Column("", "loss"), *(Column(run, run, ".6f") for run in RUNS[1:])]
    table = Table("losses", "the same batch, all anchors and regions, float32", *columns)
    agree = wanted.keys() == got.keys()
    for name, value in wanted.items():
        ours = got.get(name, NAN)
        agree &= abs(ours - value) <= TOLERANCE * max(abs(value), 1e-3)
        table.add(**{"loss": name, RUNS[1]: value, RUNS[2]: ours})
    table.show()
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
    """Time spent in functions, without what they spend in others of them.

    And how often each waits for the GPU.
    """

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
            # Those of that file are `now` itself.
            waited = sum(one.filename != common.__file__ for one in self.caught[seen:])
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
    """Milliseconds of a step in which the GPU computes; prints what takes longest."""
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
    title = f"{sum(times.values()):.0f} ms of GPU work a step"
    table = Table("kernels", title, Column("kernel", "name"), Column("ms a step", "ms", ".2f"))
    for name, spent in times.most_common(shown):
        table.add(name=name[:110], ms=spent)
    table.show(width=130)
    return sum(times.values())


def from_files(cfg: Config, args: argparse.Namespace, graphs: str) -> tuple[float, float]:
    """Images a second that the loader delivers, and that training through it reaches.

    NaN without shared memory.
    """
    free = shutil.disk_usage("/dev/shm").free
    if args.workers and free < 2**32:
        print(
            f"workers hand over images in shared memory, of which {free / 2**20:.0f} MiB are "
            "free: not measured"
        )
        return NAN, NAN
    cfg.train_dataloader.update(
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        sampler=dict(type="InfiniteSampler", shuffle=True),
    )
    loader = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
    alone = time_steps(lambda batch: None, loader, 2 * args.workers + 1, 2 * args.steps)
    model, wrapper = build(cfg)
    graph_model(model, graphs)
    warmup = 5 if graphs == "off" else 20 * OFTEN
    training = time_steps(partial(step, model, wrapper), loader, warmup, args.steps)
    del loader
    return args.batch / alone * 1e3, args.batch / training * 1e3


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--scale", type=int, nargs=2, default=(1333, 800))
    options.add_argument("--steps", type=int, default=16)
    options.add_argument("--workers", type=int, default=16)
    options.add_argument("--kernels", type=int, default=25, help="kernels listed for each run")
    options.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    options.add_argument("--graphs", choices=("auto", "off"), default="auto", help="of ours")
    options.add_argument(
        "--brief", action="store_true", help="no parts, no kernels, no loading from files"
    )
    args = options.parse_args()
    args.scale = tuple(args.scale)
    register_all_modules()
    MMLogger.get_instance("benchmark", log_level="ERROR")
    if not check_losses(args):
        sys.exit("the losses differ: nothing is timed")
    table, parts = speed_table(args), {}
    for run in args.runs:
        cfg = load_config(run, args)
        batches = some_batches(cfg, 8 if DEVICE == "cuda" else 1)
        model, wrapper = build(cfg)
        graphs = args.graphs if run.startswith("ours") else "off"
        graph_model(model, graphs)
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        spent = time_steps(
            partial(step, model, wrapper), cycle(batches), OFTEN * len(batches), args.steps
        )
        row = dict(run=run, ms=spent, gib=peak_gib(), busy=NAN, to_batches=NAN, to_step=NAN)
        model = wrapper = None
        clean()
        print(f"{run}: {spent:.0f} ms a step", flush=True)
        if not args.brief:
            parts[run] = break_down(cfg, batches)
            row["busy"] = kernels(cfg, batches, args.kernels) if DEVICE == "cuda" else NAN
            row["to_batches"], row["to_step"] = from_files(cfg, args, graphs)
        row["times"] = (table.rows[0]["ms"] if table.rows else spent) / spent
        table.add(**row)
        clean()
    tables = [table]
    if parts:
        tables.insert(0, parts_table(parts))
    for one in tables:
        one.show()
    save(args.out, *tables)


def speed_table(args: argparse.Namespace) -> Table:
    return Table(
        "speed",
        f"{args.batch} images of {args.scale}, {args.workers} workers",
        Column("run", "run"),
        Column("ms a step", "ms", ".0f"),
        Column("GPU works, ms", "busy", ".0f"),
        Column("times as fast", "times", ".2f"),
        Column("GiB", "gib", ".1f"),
        Column("files to batches, img/s", "to_batches", ".0f"),
        Column("files to step, img/s", "to_step", ".0f"),
    )


def parts_table(parts: dict[str, Parts]) -> Table:
    """Where the time of each run goes."""
    columns = [Column("part", "part")]
    for run in parts:
        columns += [Column(f"{run}: ms", f"{run}: ms", ".1f"), Column("waits", f"{run}: waits")]
    table = Table("parts", "GPU waited for after each part", *columns)
    for label in next(iter(parts.values())).milliseconds:
        row = dict(part=label)
        for run, found in parts.items():
            row[f"{run}: ms"] = found.milliseconds[label]
            row[f"{run}: waits"] = found.waits[label]
        table.add(**row)
    total = dict(part="sum")
    for run, found in parts.items():
        total[f"{run}: ms"] = found.milliseconds.total()
        total[f"{run}: waits"] = found.waits.total()
    table.add(**total)
    return table


if __name__ == "__main__":
    main()
