"""Large images with objects of all sizes, and a detector that knows what lies in each tile."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

CLASSES = ("disc", "block", "wedge")
LOADING = (
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape")),
)


def write_scenes(folder: Path, sizes: list[tuple[int, int]], seed: int = 0) -> Path:
    """Write images of these heights and widths, and `scenes.json` with their objects.

    Each has one object over most of it, many small ones and a crowd; masks are polygons and run
    lengths in turn. Objects lie apart from one another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number, (height, width) in enumerate(sizes, start=3):
        picture = rng.integers(0, 40, (height, width, 3), np.uint8)
        taken_HW = np.zeros((height, width), dtype=bool)
        largest = min(height, width) // 2
        for side in [largest, largest // 2, *rng.integers(6, 40, 30).tolist()]:
            if (placed := _place(taken_HW, side, rng)) is None:
                continue
            label, mask_HW, outline = placed
            crowd = len(annotations) % 9 == 4
            annotations.append(_annotation(len(annotations) + 11, number, label, mask_HW, outline))
            annotations[-1]["iscrowd"] = int(crowd)
            if crowd:
                annotations[-1]["segmentation"] = _packed(mask_HW)
            picture[mask_HW > 0] = (60 + 60 * label, 200 - 60 * label, 120)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        images.append(dict(id=number, file_name=f"{number}.png", height=height, width=width))
    categories = [dict(id=3 * index + 1, name=name) for index, name in enumerate(CLASSES)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / "scenes.json").write_text(json.dumps(content))
    return folder


def _place(taken_HW: np.ndarray, side: int, rng: np.random.Generator) -> tuple | None:
    """A label, mask and outline where nothing is yet."""
    height, width = taken_HW.shape
    for _ in range(20):
        x, y = rng.integers(0, width - side), rng.integers(0, height - side)
        if taken_HW[max(y - 3, 0) : y + side + 3, max(x - 3, 0) : x + side + 3].any():
            continue
        taken_HW[y : y + side, x : x + side] = True
        label = int(rng.integers(3))
        turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        round_N2 = np.stack([np.cos(turns), np.sin(turns)], 1) / 2 + 0.5
        square_N2 = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        wedge_N2 = np.array([[0, 0], [1, 0.2], [1, 0.8], [0, 1]])
        outline = (round_N2, square_N2, wedge_N2)[label] * side + (x, y)
        rle = coco_mask.merge(coco_mask.frPyObjects([outline.ravel().tolist()], height, width))
        return label, coco_mask.decode(rle), outline.ravel().tolist()
    return None


def _annotation(number: int, image: int, label: int, mask_HW: np.ndarray, outline: list) -> dict:
    box = coco_mask.toBbox(_bytes(mask_HW)).tolist()
    return dict(
        id=number,
        image_id=image,
        category_id=3 * label + 1,
        bbox=box,
        area=int(mask_HW.sum()),
        segmentation=[outline] if number % 3 else _packed(mask_HW),
    )


def _bytes(mask_HW: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(mask_HW.astype(np.uint8)))


def _packed(mask_HW: np.ndarray) -> dict:
    rle = _bytes(mask_HW)
    return dict(size=list(rle["size"]), counts=rle["counts"].decode())


def coco_dataset(folder: Path, **more) -> dict:
    """The scenes as mmdet's data set, for a test unless something else is said."""
    settings = dict(
        type="CocoDataset",
        data_root=str(folder),
        ann_file="scenes.json",
        data_prefix=dict(img=""),
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(step) for step in LOADING],
        test_mode=True,
    )
    return settings | more


class Oracle:
    """What lies in a tile, as a detector would say it: cut from the masks of whole images."""

    def __init__(self, folder: Path) -> None:
        from mmdet.datasets.api_wrappers import COCO

        self.coco = COCO(str(folder / "scenes.json"))

    def __call__(self, sample: dict) -> dict:
        """A sample of the data set, packed, with its finds; as metrics are handed it."""
        meta = sample["data_samples"].metainfo
        tile = meta["tile"]
        boxes, labels, scores, masks = [], [], [], []
        for annotation in self.coco.load_anns(self.coco.get_ann_ids(img_ids=[meta["img_id"]])):
            part_HW = tile.of(self.coco.annToMask(annotation))
            x, y, width, height = coco_mask.toBbox(_bytes(part_HW)).tolist()
            if not width:
                continue
            boxes.append([x, y, x + width, y + height])
            labels.append((annotation["category_id"] - 1) // 3)
            scores.append(0.5 + 0.001 * (annotation["id"] % 97))
            masks.append(part_HW)
        size = (tile.height, tile.width)
        found = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.int64),
            scores=torch.tensor(scores, dtype=torch.float32),
            masks=torch.from_numpy(np.array(masks, dtype=bool).reshape(-1, *size)),
        )
        return dict(meta, pred_instances=found)
