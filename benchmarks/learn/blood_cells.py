"""Blood cells cut out of `bccd`: the images of a classifier, its recipe, and that of a detector.

The crops are boxes of that data set with a tenth of their sides around them, so that what a
classifier learns of them is of use to a detector of the same cells.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from mmengine.config import Config
from recipes import BLOOD_CELLS, _backbone, _base, _loader, _schedule

MARGIN = 0.1
"""Share of a box's sides that is cut out around it."""
SIDE = 128
"""Pixels that crops are resized to."""
CLASSIFIERS = {
    "resnet50": dict(
        backbone=dict(_delete_=True, type="ResNet", depth=50, norm_eval=False),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="LinearClsHead", num_classes=3, in_channels=2048, topk=(1,)),
    ),
}
"""Those that do not end in a classifier of their own."""


def cut(data: Path, folder: Path) -> dict[str, int]:
    """Write every labelled cell as `SPLIT/CLASS/IMAGE_BOX.png`; how many of each split."""
    counts = {}
    for split in ("train", "val"):
        labels = json.loads((data / f"bccd/annotations/instances_{split}.json").read_text())
        files = {one["id"]: one["file_name"] for one in labels["images"]}
        names = {one["id"]: one["name"] for one in labels["categories"]}
        for box in labels["annotations"]:
            picture = cv2.imread(str(data / "bccd" / split / files[box["image_id"]]))
            x, y, width, height = box["bbox"]
            left, top = max(round(x - MARGIN * width), 0), max(round(y - MARGIN * height), 0)
            right, bottom = round(x + (1 + MARGIN) * width), round(y + (1 + MARGIN) * height)
            out = folder / split / names[box["category_id"]]
            out.mkdir(parents=True, exist_ok=True)
            stem = Path(files[box["image_id"]]).stem
            cv2.imwrite(str(out / f"{stem}_{box['id']}.png"), picture[top:bottom, left:right])
        counts[split] = len(labels["annotations"])
    return counts


def classifier(backbone: str, crops: Path, iterations: int, workers: int) -> Config:
    """Three classes, crops of all sizes as squares, red cells as often as the others."""
    import mmmamba.classification  # noqa: F401

    cfg = _base(
        "models/classifier",
        "datasets/imagenet_224",
        "schedules/schedule_300e_imagenet",
        "default_runtime_cls",
    )
    load = dict(type="LoadImageFromFile")
    square = dict(type="Resize", scale=(SIDE, SIDE))
    turned = [
        dict(type="RandomFlip", prob=0.5, direction=direction)
        for direction in ("horizontal", "vertical")
    ]
    train = [
        load,
        dict(type="RandomResizedCrop", scale=SIDE, crop_ratio_range=(0.5, 1.0)),
        *turned,
        dict(type="ColorJitter", brightness=0.2, contrast=0.2, saturation=0.2),
        dict(type="PackInputs"),
    ]

    def split(name: str, pipeline: list) -> dict:
        return dict(
            type="CustomDataset",
            data_root=str(crops),
            data_prefix=name,
            classes=BLOOD_CELLS,
            pipeline=pipeline,
        )

    balanced = dict(type="ClassBalancedDataset", oversample_thr=0.3, dataset=split("train", train))
    cfg.merge_from_dict(
        dict(
            model=_classifier(backbone),
            train_dataloader=_loader(128, workers, balanced, True),
            val_dataloader=_loader(
                128, workers, split("val", [load, square, dict(type="PackInputs")]), False
            ),
            custom_hooks=[],
            val_evaluator=[
                dict(type="Accuracy", topk=(1,)),
                # The mean of each class's recall: balanced accuracy.
                dict(type="SingleLabelMetric", items=("recall",), average="macro"),
            ],
            val_cfg=dict(type="ValLoop"),
            **_schedule(iterations, 5e-4),
        )
    )
    cfg.default_hooks.checkpoint.by_epoch = False
    cfg.train_dataloader["collate_fn"] = dict(type="default_collate")
    cfg.val_dataloader["collate_fn"] = dict(type="default_collate")
    return cfg


def distilled(
    backbone: str, teacher: str, weights: Path, crops: Path, iterations: int, workers: int
) -> Config:
    """The same, learning from another classifier's beliefs too."""
    cfg = classifier(backbone, crops, iterations, workers)
    teach(cfg, _classifier(teacher)["backbone"], weights)
    return cfg


def teach(cfg: Config, teacher: dict, weights: Path) -> None:
    """Give a classifier one of ours, with these weights, for its teacher."""
    cfg.model.update(
        type="DistilledClassifier",
        teacher=dict(library="mmmamba", model=teacher, checkpoint=str(weights)),
        distillation=dict(kind="soft", weight=0.7, temperature=2.0),
    )


def _classifier(backbone: str) -> dict:
    classes = len(BLOOD_CELLS)
    if backbone in CLASSIFIERS:
        made = CLASSIFIERS[backbone]
    else:
        import mmmamba

        family = type(mmmamba.create_backbone(backbone)).__name__
        settings = dict(num_classes=classes, drop_path_rate=0.0)
        made = dict(backbone=dict(type=family, arch=backbone, **settings), head=dict(topk=(1,)))
    # Three classes, a few hundred iterations: nothing is mixed.
    return dict(data_preprocessor=dict(num_classes=classes), train_cfg=None) | made


def faster_rcnn(
    backbone: str, data: Path, iterations: int, workers: int, start: str | None = None
) -> Config:
    """Cells in whole photographs; the backbone starts from a run's checkpoint, if one is named."""
    config, widths, neck = _backbone(backbone)
    if start is not None:
        config["init_cfg"] = dict(type="Pretrained", checkpoint=start)
        if backbone in CLASSIFIERS:
            config["init_cfg"]["prefix"] = "backbone."
        if config.get("cls_token") == "none":
            config["init_cfg"]["allow_unexpected"] = [r"tokens\.cls_token"]
    cfg = _base(
        "models/mask_rcnn_fpn",
        "datasets/coco_detection",
        "schedules/schedule_1x",
        "default_runtime",
    )
    load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True)]
    turned = dict(type="RandomFlip", prob=[0.3, 0.3], direction=["horizontal", "vertical"])
    meta = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    fit = dict(type="Resize", scale=(640, 480), keep_ratio=True)

    def split(name: str, pipeline: list, **more) -> dict:
        return dict(
            type="CocoDataset",
            data_root=str(data / "bccd"),
            ann_file=f"annotations/instances_{name}.json",
            data_prefix=dict(img=f"{name}/"),
            metainfo=dict(classes=BLOOD_CELLS),
            pipeline=pipeline,
            **more,
        )

    train = split("train", [*load, fit, turned, dict(type="PackDetInputs")])
    test = split(
        "val", [load[0], fit, load[1], dict(type="PackDetInputs", meta_keys=meta)], test_mode=True
    )
    cfg.merge_from_dict(
        dict(
            model=dict(
                backbone=config,
                neck=(neck | dict(_delete_=True) if neck else {}) | dict(in_channels=widths),
                roi_head=dict(
                    bbox_head=dict(num_classes=len(BLOOD_CELLS)),
                    mask_roi_extractor=None,
                    mask_head=None,
                ),
            ),
            train_dataloader=_loader(8, workers, train, True),
            val_dataloader=_loader(4, workers, test, False),
            val_evaluator=dict(
                _delete_=True,
                type="CocoMetric",
                ann_file=str(data / "bccd/annotations/instances_val.json"),
                metric="bbox",
            ),
            val_cfg=dict(type="ValLoop"),
            **_schedule(iterations, 2e-4),
        )
    )
    return cfg
