"""What do tiles bring where objects are small and images large? Drawn images, one budget for all.

    python benchmarks/learn/tiling.py --out tiling.json
    python benchmarks/learn/tiling.py --tiny             # on a CPU, to see that it runs

Images are put together of many of `mmmamba.datasets.shapes`, shrunk: objects of some 8 to 30 pixels
in images of 1152. Faster R-CNN with VMamba-T learns from scratch with the same number of images of
the same size a step: whole images brought down to the side of a tile, or tiles as they are. Rows:

- `whole`: trained and tested on whole images brought down;
- `tiles`: trained and tested on tiles, what is found joined to whole images;
- `whole, full size`: whole images as they are, which cost nine times as many pixels a step.

AP is on the same whole images. Rows are printed and saved as they come.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import DEVICE, Column, Table, now, parser, save

SCORES = {"ap": "bbox_mAP", "ap50": "bbox_mAP_50", "ap_small": "bbox_mAP_s"}
CELL = 96
"""Pixels of the images that are shrunk and put together."""


@dataclass(frozen=True)
class Size:
    """How large everything is: images and tiles in pixels, and how many there are."""

    side: int = 1152
    tile: int = 384
    shrunk: int = 48
    """Side of a cell in an image."""
    train: int = 80
    val: int = 20
    batch: int = 8


TINY = Size(side=192, tile=96, shrunk=48, train=4, val=2, batch=2)


def draw(folder: Path, size: Size, seed: int) -> Path:
    """Write `train/`, `val/` and their COCO files below a folder."""
    import cv2

    from mmmamba.datasets.shapes import CATEGORY_IDS, CLASSES, ShapesSpec, make_shapes

    spec = ShapesSpec(num_train=240, num_val=60, size=CELL, crowd_every=10**6, seed=seed)
    cells = make_shapes(folder / "cells", spec)
    categories = [dict(id=i, name=name) for i, name in zip(CATEGORY_IDS, CLASSES)]
    rng = np.random.default_rng(seed)
    for split, number in (("train", size.train), ("val", size.val)):
        found = json.loads((cells / f"annotations/instances_{split}.json").read_text())
        pictures = [
            (one["id"], cv2.imread(str(cells / split / one["file_name"])))
            for one in found["images"]
        ]
        boxes: dict[int, list[dict]] = {image: [] for image, _ in pictures}
        for one in found["annotations"]:
            boxes[one["image_id"]].append(one)
        (folder / split).mkdir()
        images, annotations = [], []
        for image in range(1, number + 1):
            whole_HWC = np.zeros((size.side, size.side, 3), np.uint8)
            for y in range(0, size.side, size.shrunk):
                for x in range(0, size.side, size.shrunk):
                    cell, picture = pictures[rng.integers(len(pictures))]
                    part = cv2.resize(
                        picture, (size.shrunk, size.shrunk), interpolation=cv2.INTER_AREA
                    )
                    whole_HWC[y : y + size.shrunk, x : x + size.shrunk] = part
                    for one in boxes[cell]:
                        annotations.append(
                            _moved(one, x, y, size.shrunk / CELL, image, len(annotations) + 1)
                        )
            cv2.imwrite(str(folder / split / f"{image}.png"), whole_HWC)
            images.append(
                dict(id=image, file_name=f"{image}.png", width=size.side, height=size.side)
            )
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def _moved(one: dict, x: int, y: int, scale: float, image: int, number: int) -> dict:
    left, top, width, height = (value * scale for value in one["bbox"])
    box = [x + left, y + top, width, height]
    kept = dict(category_id=one["category_id"], iscrowd=0, area=width * height)
    return dict(kept, id=number, image_id=image, bbox=box)


def config(data: Path, size: Size, way: str, iterations: int, workers: int) -> Any:
    """The config of one row."""
    from recipes import _backbone, _base, _loader, _schedule

    from mmmamba.config.changes import Changes, set_tiles
    from mmmamba.datasets.shapes import CLASSES

    backbone, widths, _ = _backbone("vmamba_t")
    if size is TINY:
        backbone["arch"], widths = dict(embed_dims=16, depths=(1, 1, 1, 1)), [16, 32, 64, 128]
    side = size.side if way == "whole, full size" else size.tile
    load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True)]
    fit = dict(type="Resize", scale=(side, side), keep_ratio=True)
    turns = dict(type="RandomFlip", prob=[0.3, 0.3], direction=["horizontal", "vertical"])
    meta = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")

    def split(name: str, pipeline: list, **more: Any) -> dict:
        return dict(
            type="CocoDataset",
            data_root=str(data),
            ann_file=f"{name}.json",
            data_prefix=dict(img=f"{name}/"),
            metainfo=dict(classes=CLASSES),
            pipeline=pipeline,
            **more,
        )

    train = split("train", [*load, fit, turns, dict(type="PackDetInputs")])
    test = [load[0], fit, load[1], dict(type="PackDetInputs", meta_keys=meta)]
    held_out = split("val", test, test_mode=True)
    cfg = _base(
        "models/faster_rcnn_fpn_small",
        "datasets/coco_detection",
        "schedules/schedule_1x",
        "default_runtime",
    )
    cfg.merge_from_dict(
        dict(
            model=dict(
                backbone=backbone,
                neck=dict(in_channels=widths),
                roi_head=dict(bbox_head=dict(num_classes=len(CLASSES))),
                # Of a whole image as many as of its tiles.
                test_cfg=dict(rcnn=dict(max_per_img=1500)),
            ),
            train_dataloader=_loader(size.batch, workers, train, True),
            val_dataloader=_loader(4, workers, held_out, False),
            val_evaluator=dict(
                _delete_=True,
                type="CocoMetric",
                ann_file=str(data / "val.json"),
                metric="bbox",
            ),
            val_cfg=dict(type="ValLoop"),
            **_schedule(iterations, 2e-4),
        )
    )
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    # One count of detections for all rows: one tile as large as the image is the whole image.
    tile = size.tile if way == "tiles" else size.side
    set_tiles(cfg, tile, 0.25, Changes())
    cfg.train_dataloader.dataset.keep_empty = 0.0
    return cfg


def learn(cfg: Any, work_dir: Path) -> dict[str, float]:
    """Scores in %, and seconds of training with its test."""
    from mmengine.runner import Runner

    cfg.work_dir, started = str(work_dir), now()
    runner = Runner.from_cfg(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    scores = {
        name: 100 * float(scalars[f"val/coco/{key}"].current()) for name, key in SCORES.items()
    }
    return dict(scores, seconds=now() - started)


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--iterations", type=int, help="steps of each row (2000; 4 with --tiny)")
    flags.add_argument("--seeds", type=int, default=1)
    flags.add_argument("--workers", type=int, help="processes that read images (4; 0 with --tiny)")
    flags.add_argument("--rows", nargs="+", default=["whole", "tiles", "whole, full size"])
    flags.add_argument("--tiny", action="store_true", help="seconds on a CPU, and no learning")
    args = flags.parse_args()
    import mmmamba.detection  # noqa: F401

    size = TINY if args.tiny else Size()
    iterations = args.iterations or (4 if args.tiny else 2000)
    workers = args.workers if args.workers is not None else (0 if args.tiny else 4)
    table = Table(
        "tiling",
        f"box AP of whole images, %, after {iterations} steps of {size.batch} images",
        Column("seed", "seed"),
        Column("trained and tested on", "way"),
        Column("AP", "ap", ".1f"),
        Column("AP50", "ap50", ".1f"),
        Column("AP of small ones", "ap_small", ".1f"),
        Column("seconds", "seconds", ".0f"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for seed in range(args.seeds):
            data = draw(folder / f"data{seed}", size, seed)
            for way in args.rows:
                cfg = config(data, size, way, iterations, workers)
                cfg.randomness = dict(seed=seed)
                row = dict(seed=seed, way=way, **learn(cfg, folder / f"{way}{seed}"))
                table.add(**row)
                print(row, flush=True)
                save(args.out, table, device=DEVICE, iterations=iterations, size=vars(size))
    table.show()


if __name__ == "__main__":
    main()
