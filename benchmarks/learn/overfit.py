"""Can each head learn eight images by heart? Everything above 0.9, or there is a bug.

    export DATA=../shared/data
    python benchmarks/learn/overfit.py --data $DATA --iterations 1500 --backbone vmamba_t
    python benchmarks/learn/overfit.py --data $DATA --iterations 1500 --head mamba_yolo_t

Boxes, masks and label maps are scored. The images of coco_mini hold crowds and COCO's ids with
gaps. Nothing is augmented; a head stops once it is there.
"""

import argparse
import csv
import json
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from recipes import DETECTORS, OURS, PEERS, ROUTED, _backbone, _base, _loader, _schedule
from rich.console import Console
from rich.table import Table

import mmmamba  # noqa: F401  before mmdet and mmseg

GOAL = 0.9
IMAGES = 8
SIDE = 640
SEGMENTATION_SIDE = 512
SMALL = 32**2
PLACES = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


def coco_subset(data: Path, work_dir: Path) -> Path:
    """Annotations of eight training images.

    Two with crowds, and of those without small objects the fullest.
    """
    content = json.loads((data / "coco_mini/annotations/instances_train.json").read_text())
    of_image: dict[int, list[dict]] = {}
    for annotation in content["annotations"]:
        of_image.setdefault(annotation["image_id"], []).append(annotation)
    crowded = {i for i, found in of_image.items() if any(a["iscrowd"] for a in found)}
    single = {i: [a for a in found if not a["iscrowd"]] for i, found in of_image.items()}
    smallest = {i: min((a["area"] for a in found), default=0) for i, found in single.items()}
    # Nearly every image with a crowd also has small objects: those with the fewest.
    order = sorted(crowded, key=lambda i: (sum(a["area"] < SMALL for a in single[i]), i))
    large = sorted(
        (i for i in single if smallest[i] >= SMALL and i not in crowded),
        key=lambda i: (-len(single[i]), i),
    )
    chosen = set((order[:2] + large)[:IMAGES])
    content["images"] = [image for image in content["images"] if image["id"] in chosen]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in chosen]
    file = work_dir / "eight.json"
    file.write_text(json.dumps(content))
    return file


def detector(
    head: str, backbone: str, data: Path, iterations: int, workers: int, work_dir: Path
) -> Config:
    """Mask R-CNN, Cascade Mask R-CNN or RetinaNet, trained and tested on the same images."""
    config, widths, neck = _backbone(backbone)
    masks = head != "retinanet"
    cfg = _base(
        f"models/{head}_fpn", "datasets/coco_instance", "schedules/schedule_1x", "default_runtime"
    )
    if neck:
        neck = (
            neck
            | dict(_delete_=True)
            | ({} if masks else dict(num_extra_trans_convs=1, add_extra_convs="on_input"))
        )
    file = str(coco_subset(data, work_dir).absolute())
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=masks),
        dict(type="Resize", scale=(SIDE, SIDE), keep_ratio=True),
        dict(type="PackDetInputs", meta_keys=PLACES),
    ]
    dataset = dict(
        type="CocoDataset",
        ann_file=file,
        data_prefix=dict(img=f"{data.absolute()}/coco_mini/train/"),
        pipeline=pipeline,
    )
    cfg.merge_from_dict(
        dict(
            model=dict(backbone=config, neck=neck | dict(in_channels=widths)),
            train_dataloader=_loader(4, workers, dataset, True),
            val_dataloader=_loader(4, workers, dict(dataset, test_mode=True), False),
            val_evaluator=dict(
                _delete_=True,
                type="CocoMetric",
                ann_file=file,
                metric=["bbox", "segm"][: 1 + masks],
            ),
            **_schedule(iterations, 2e-4),
        )
    )
    return cfg


def yolo(
    head: str, backbone: str, data: Path, iterations: int, workers: int, work_dir: Path
) -> Config:
    """Mamba YOLO-T, a backbone of its own.

    All eight images in each batch, so that batch norms test what they saw.
    """
    import mmmamba.detection  # noqa: F401  (registers it)

    cfg = _base(
        "models/mamba_yolo", "datasets/coco_yolo", "schedules/schedule_1x", "default_runtime"
    )
    file = str(coco_subset(data, work_dir).absolute())
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True),
        dict(type="Letterbox", size=SIDE),
        dict(type="PackDetInputs", meta_keys=(*PLACES, "pad_param")),
    ]
    dataset = dict(
        type="CocoDataset",
        ann_file=file,
        data_prefix=dict(img=f"{data.absolute()}/coco_mini/train/"),
        pipeline=pipeline,
    )
    cfg.merge_from_dict(
        dict(
            model=DETECTORS[head][1],
            train_dataloader=_loader(IMAGES, workers, dataset, True),
            val_dataloader=_loader(1, workers, dict(dataset, test_mode=True), False),
            val_evaluator=dict(_delete_=True, type="CocoMetric", ann_file=file, metric="bbox"),
            **_schedule(iterations, 1e-3),
        )
    )
    return cfg


def upernet(
    head: str, backbone: str, data: Path, iterations: int, workers: int, work_dir: Path
) -> Config:
    """UperNet on the first eight images of coco_sem, 133 classes."""
    config, widths, neck = _backbone(backbone)
    cfg = _base(
        "models/upernet", "datasets/ade20k", "schedules/schedule_160k", "default_runtime_seg"
    )
    if neck:
        neck, widths = dict(neck=neck | dict(in_channels=widths)), [256] * 4
    with (data / "coco_sem/classes.csv").open() as file:
        classes = [row["name"] for row in csv.DictReader(file)]
    load, annotate, pack = (
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations"),
        dict(type="PackSegInputs"),
    )
    # One size, so that images can be batched and tested as they were trained; labels are compared
    # at their own.
    resize = dict(type="Resize", scale=(SEGMENTATION_SIDE, SEGMENTATION_SIDE), keep_ratio=False)
    dataset = dict(
        type="BaseSegDataset",
        data_root=str(data / "coco_sem"),
        metainfo=dict(classes=classes),
        reduce_zero_label=True,
        img_suffix=".jpg",
        seg_map_suffix=".png",
        pipeline=[load, annotate, resize, pack],
        indices=IMAGES,
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
    )
    cfg.merge_from_dict(
        dict(
            model=dict(
                backbone=config,
                **neck,
                data_preprocessor=dict(size=(SEGMENTATION_SIDE, SEGMENTATION_SIDE)),
                decode_head=dict(in_channels=widths, num_classes=len(classes)),
                auxiliary_head=dict(in_channels=widths[2], num_classes=len(classes)),
            ),
            train_dataloader=_loader(4, workers, dataset, True),
            val_dataloader=_loader(
                1, workers, dict(dataset, pipeline=[load, resize, annotate, pack]), False
            ),
            val_evaluator=dict(_delete_=True, type="IoUMetric", iou_metrics=["mIoU"]),
            **_schedule(iterations, 3e-4),
        )
    )
    return cfg


HEADS = {
    "mask_rcnn": (detector, ("coco/bbox_mAP", "coco/segm_mAP")),
    "cascade_mask_rcnn": (detector, ("coco/bbox_mAP", "coco/segm_mAP")),
    "retinanet": (detector, ("coco/bbox_mAP",)),
    "mamba_yolo_t": (yolo, ("coco/bbox_mAP",)),
    "upernet": (upernet, ("mIoU",)),
}


class StopAtGoal(Hook):
    """Ends training once every key is above the goal.

    Keeps the metrics and the iteration of the last validation.
    """

    def __init__(self, keys: tuple[str, ...]):
        self.keys, self.metrics, self.iteration = keys, {}, 0

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.metrics, self.iteration = (
            {k: v / (100 if k == "mIoU" else 1) for k, v in metrics.items()},
            runner.iter,
        )
        runner.train_loop.stop_training = self.reached

    @property
    def reached(self) -> bool:
        return all(self.metrics.get(key, 0) > GOAL for key in self.keys)


def overfit(head: str, args: argparse.Namespace) -> tuple[StopAtGoal, float]:
    build, keys = HEADS[head]
    work_dir = args.work_dir / head
    work_dir.mkdir(parents=True, exist_ok=True)
    cfg = build(head, args.backbone, args.data, args.iterations, args.workers, work_dir)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f"overfit_{head}_{time.time_ns()}"
    cfg.train_cfg.val_interval = max(args.iterations // args.validations, 1)
    stop = StopAtGoal(keys)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(stop)
    start = time.time()
    runner.train()
    return stop, time.time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--head", choices=HEADS, nargs="+", default=list(HEADS))
    parser.add_argument("--backbone", choices=[*OURS, *PEERS, *ROUTED], default="vmamba_t")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--validations", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/overfit"))
    args = parser.parse_args()
    columns = {
        "box AP": "coco/bbox_mAP",
        "AP50": "coco/bbox_mAP_50",
        "mask AP": "coco/segm_mAP",
        "mask AP50": "coco/segm_mAP_50",
        "mIoU": "mIoU",
    }
    table = Table(
        "head",
        *columns,
        "iterations",
        "seconds",
        f"above {GOAL}",
        title=f"{args.backbone} (mamba_yolo_t has its own) on {IMAGES} images, from scratch, at "
        f"most {args.iterations} iterations",
    )
    reached, lines = [], []
    for head in args.head:
        stop, seconds = overfit(head, args)
        reached.append(stop.reached)
        cells = (
            f"{stop.metrics[key]:.3f}" if key in stop.metrics else "" for key in columns.values()
        )
        table.add_row(
            head, *cells, str(stop.iteration), f"{seconds:.0f}", "yes" if stop.reached else "NO"
        )
        found = (
            f"{name} {stop.metrics[key]:.3f}"
            for name, key in columns.items()
            if key in stop.metrics
        )
        lines.append(
            f"overfit {head}: {', '.join(found)}, {stop.iteration} iterations, {seconds:.0f} s"
        )
    Console(width=140).print(table)
    print(*lines, sep="\n")
    return 0 if all(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
