"""What the memory format of a backbone's maps costs or gains in the neck and heads behind it.

    python benchmarks/map_format_gpu.py --out benchmarks/results/map_format_gpu.json

For a config of each kind of head: milliseconds of a training step (losses and backward pass) and of
a prediction, wall time and GPU time, with maps as they leave the backbone (channels-last in
memory), with contiguous copies of them, and with neck and heads in channels-last as well. Losses of
the formats are compared first. Random weights, autocast.
"""

from collections.abc import Callable

import torch
from common import DEVICE, NAN, ROOT, Column, Table, now, parser, save, verdict, wall_ms
from torch import nn

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed
from mmengine.structures import InstanceData, PixelData

CONFIGS = ROOT / "configs"
CASES = {
    "mask_rcnn/vmamba_t_1x_coco": (2, 800, 1344),
    "retinanet/efficientvmamba_t_1x_coco": (4, 800, 1344),
    "yolo/vmamba_t_rtmdet_36e_coco": (8, 640, 640),
    "yolo/vmamba_t_yolox_36e_coco": (8, 640, 640),
    "upernet/vmamba_t_160k_ade20k-512x512": (8, 512, 512),
}
FORMATS = ("channels-last", "contiguous", "contiguous, channels-last heads", "channels-last heads")


def build(name: str, form: str) -> tuple[nn.Module, Config]:
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    cfg.model.data_preprocessor.pop("batch_augments", None)
    set_random_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    model.to(DEVICE).train()
    if form.endswith("heads"):
        for child in model.children():
            if child is not model.backbone:
                child.to(memory_format=torch.channels_last)
    if form.startswith("contiguous"):
        forward = model.backbone.forward
        model.backbone.forward = lambda x: tuple(m.contiguous() for m in forward(x))
    return model, cfg


def batch(cfg: Config, size: tuple[int, int, int]) -> tuple[torch.Tensor, list]:
    count, height, width = size
    images = torch.randn(count, 3, height, width, device=DEVICE)
    meta = dict(
        img_shape=(height, width),
        ori_shape=(height, width),
        pad_shape=(height, width),
        batch_input_shape=(height, width),
        scale_factor=(1.0, 1.0),
    )
    if cfg.default_scope == "mmseg":
        return images, [segmented(meta) for _ in range(count)]
    masks = "roi_head" in cfg.model
    return images, [detected(meta, masks) for _ in range(count)]


def segmented(meta: dict):
    """A sample of mmseg with a label map of noise."""
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=meta)
    labels = torch.randint(0, 150, (1, *meta["img_shape"]), device=DEVICE)
    sample.gt_sem_seg = PixelData(data=labels)
    return sample


def detected(meta: dict, masks: bool):
    """A sample of mmdet with ten boxes of 80 pixels."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    height, width = meta["img_shape"]
    sample = DetDataSample(metainfo=meta)
    corner = torch.rand(10, 2, device=DEVICE) * 0.5 * torch.tensor([width, height], device=DEVICE)
    boxes = torch.cat([corner, corner + 80], 1)
    labels = torch.randint(0, 80, (10,), device=DEVICE)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    if masks:
        whole = torch.ones(height, width, dtype=torch.uint8).numpy()
        sample.gt_instances.masks = BitmapMasks([whole] * 10, height, width)
    none = torch.zeros(0, dtype=torch.long, device=DEVICE)
    sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=none)
    return sample


def timed(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Wall and GPU milliseconds of a call."""
    for _ in range(3):
        call()
    wall = wall_ms(call, repeats)
    if DEVICE == "cpu":
        return wall, NAN
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        now()
    busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e3
    return wall, busy


def measure(name: str, size: tuple[int, int, int], form: str, repeats: int) -> dict:
    """The loss, and times of a step and of a prediction."""
    model, cfg = build(name, form)
    images, samples = batch(cfg, size)

    def autocast() -> torch.autocast:
        return torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda")

    def losses() -> torch.Tensor:
        with autocast():
            return model.parse_losses(model(images, samples, mode="loss"))[0]

    def step() -> None:
        model.zero_grad()
        losses().backward()

    def predict() -> None:
        with torch.no_grad(), autocast():
            model(images[:1], samples[:1], mode="predict")

    set_random_seed(1)
    row = dict(config=name, size=size, format=form, loss=float(losses().detach()))
    row["step_wall"], row["step_gpu"] = timed(step, repeats)
    model.eval()
    row["predict_wall"], row["predict_gpu"] = timed(predict, repeats)
    return row


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--only", default="", help="cases whose name holds this")
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument(
        "--small", action="store_true", help="images of a quarter of the side, two of them"
    )
    args = options.parse_args()
    MMLogger.get_current_instance().setLevel("ERROR")
    table = Table(
        "formats",
        "milliseconds, bfloat16 autocast",
        Column("config", "config"),
        Column("images", "size"),
        Column("maps", "format"),
        Column("loss", "loss", ".4f"),
        Column("same", "agree"),
        Column("step: wall", "step_wall", ".1f"),
        Column("GPU", "step_gpu", ".1f"),
        Column("prediction: wall", "predict_wall", ".1f"),
        Column("GPU", "predict_gpu", ".1f"),
    )
    missed = []
    for name, size in CASES.items():
        if args.only not in name:
            continue
        if args.small:
            size = (2, size[1] // 4 // 32 * 32, size[2] // 4 // 32 * 32)
        wanted = None
        for form in FORMATS:
            row = measure(name, size, form, args.repeats)
            wanted = row["loss"] if wanted is None else wanted
            row["agree"] = abs(row["loss"] - wanted) < 0.02 * abs(wanted)
            if not row["agree"]:
                missed.append(f"{name}, {form}: the loss is {row['loss']:.4f}, not {wanted:.4f}")
            table.add(**row)
            print(row, flush=True)
    table.show(width=160)
    save(args.out, table)
    return verdict(missed, "all losses agree")


if __name__ == "__main__":
    raise SystemExit(main())
