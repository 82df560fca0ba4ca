"""What the memory format of a backbone's maps costs or gains in the neck and heads behind it.

    python benchmarks/map_format_gpu.py

For a config of each kind of head: milliseconds of a training step (losses and backward pass) and of a prediction, wall
time and GPU time, with maps as they leave the backbone (channels-last in memory), with contiguous copies of them, and
with neck and heads in channels-last as well. Losses of the formats are compared first. Random weights, autocast.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import mmmamba.detection  # noqa: E402, F401, I001  (before mmdet: mmcv's operators)
from mmengine.config import Config  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.model import revert_sync_batchnorm  # noqa: E402
from mmengine.registry import MODELS, init_default_scope  # noqa: E402
from mmengine.runner import set_random_seed  # noqa: E402
from mmengine.structures import InstanceData, PixelData  # noqa: E402
from torch import nn  # noqa: E402

CONFIGS = Path(__file__).parents[1] / "configs"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
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
        from mmseg.structures import SegDataSample

        samples = []
        for _ in range(count):
            sample = SegDataSample(metainfo=meta)
            sample.gt_sem_seg = PixelData(
                data=torch.randint(0, 150, (1, height, width), device=DEVICE)
            )
            samples.append(sample)
        return images, samples
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    samples = []
    for _ in range(count):
        sample = DetDataSample(metainfo=meta)
        corner = (
            torch.rand(10, 2, device=DEVICE) * 0.5 * torch.tensor([width, height], device=DEVICE)
        )
        boxes = torch.cat([corner, corner + 80], 1)
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.randint(0, 80, (10,), device=DEVICE)
        )
        if "roi_head" in cfg.model:
            whole = torch.ones(height, width, dtype=torch.uint8).numpy()
            sample.gt_instances.masks = BitmapMasks([whole] * 10, height, width)
        none = torch.zeros(0, dtype=torch.long, device=DEVICE)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=none)
        samples.append(sample)
    return images, samples


def timed(call, repeats: int) -> tuple[float, float]:
    """Wall and GPU milliseconds of a call."""
    for _ in range(3):
        call()
    if DEVICE == "cpu":
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats * 1e3, 0.0
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    torch.cuda.synchronize()
    wall = (time.perf_counter() - start) / repeats * 1e3
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e3
    return wall, busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument(
        "--small", action="store_true", help="images of a quarter of the side, one of them"
    )
    parser.add_argument("--out", type=Path, help="JSON to write")
    args = parser.parse_args()
    dtype = torch.bfloat16
    MMLogger.get_current_instance().setLevel("ERROR")
    rows = []
    for name, size in CASES.items():
        if args.only not in name:
            continue
        if args.small:
            size = (2, size[1] // 4 // 32 * 32, size[2] // 4 // 32 * 32)
        wanted = None
        for form in FORMATS:
            model, cfg = build(name, form)
            images, samples = batch(cfg, size)

            def losses(model=model, images=images, samples=samples) -> torch.Tensor:
                with torch.autocast(DEVICE, dtype, enabled=DEVICE == "cuda"):
                    return model.parse_losses(model(images, samples, mode="loss"))[0]

            def step(model=model, losses=losses) -> None:
                model.zero_grad()
                losses().backward()

            def predict(model=model, images=images, samples=samples) -> None:
                with torch.no_grad(), torch.autocast(DEVICE, dtype, enabled=DEVICE == "cuda"):
                    model(images[:1], samples[:1], mode="predict")

            set_random_seed(1)
            found = float(losses().detach())
            wanted = found if wanted is None else wanted
            agree = abs(found - wanted) < 0.02 * abs(wanted)
            row = dict(config=name, size=size, format=form, loss=found, agree=agree)
            row["step_wall"], row["step_gpu"] = timed(step, args.repeats)
            model.eval()
            row["predict_wall"], row["predict_gpu"] = timed(predict, args.repeats)
            rows.append(row)
            verdict = "same" if agree else "DIFFERS"
            step_times = f"{row['step_wall']:7.1f} / {row['step_gpu']:6.1f}"
            predict_times = f"{row['predict_wall']:6.1f} / {row['predict_gpu']:6.1f}"
            print(
                f"{name:42} {form:32} loss {found:8.4f} {verdict}  step {step_times}  predict {predict_times}",
                flush=True,
            )
            del model
    if args.out:
        device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
        args.out.write_text(
            json.dumps(dict(device=device, torch=torch.__version__, rows=rows), indent=1)
        )


if __name__ == "__main__":
    main()
