"""The made-up data set holds what real ones hold, and says the same thing in each of its forms."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations
from pycocotools.coco import COCO

from mmmamba.datasets.shapes import CATEGORY_IDS, CLASSES, ShapesSpec, draw_scene, make_shapes

SPEC = ShapesSpec(num_train=60, num_val=12, size=96)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("data") / "shapes", SPEC)


@pytest.fixture(scope="module")
def coco(root: Path) -> COCO:
    return COCO(str(root / "annotations" / "instances_train.json"))


def test_masks_boxes_and_areas_agree(coco: COCO) -> None:
    for annotation in coco.dataset["annotations"]:
        mask_HW = coco.annToMask(annotation)
        rows, columns = np.nonzero(mask_HW)
        x, y, width, height = annotation["bbox"]
        assert annotation["area"] == mask_HW.sum() > 0
        assert (x, y, x + width, y + height) == (
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        )


def test_every_kind_of_annotation_occurs(coco: COCO) -> None:
    kinds = set()
    for annotation in coco.dataset["annotations"]:
        segmentation = annotation["segmentation"]
        content = segmentation[0] if isinstance(segmentation, list) else segmentation["counts"]
        kinds.add((type(segmentation).__name__, type(content).__name__, annotation["iscrowd"]))
    assert kinds == {("list", "list", 0), ("dict", "str", 0), ("dict", "list", 1)}
    assert {a["category_id"] for a in coco.dataset["annotations"]} == set(CATEGORY_IDS)


def test_some_images_are_empty_and_ids_have_gaps(coco: COCO) -> None:
    with_objects = {a["image_id"] for a in coco.dataset["annotations"]}
    ids = sorted(coco.imgs)
    assert len(ids) == SPEC.num_train and len(with_objects) < len(ids)
    assert ids != list(range(1, len(ids) + 1)) and ids[0] > 0
    assert min(a["id"] for a in coco.dataset["annotations"]) > 0


def test_label_maps_show_the_same_objects(root: Path, coco: COCO) -> None:
    for image_id, image in coco.imgs.items():
        labels_HW = cv2.imread(
            str(root / "labels" / "train" / image["file_name"]), cv2.IMREAD_UNCHANGED
        )
        wanted_HW = np.zeros_like(labels_HW)
        for annotation in coco.imgToAnns[image_id]:
            wanted_HW[coco.annToMask(annotation) > 0] = (
                CATEGORY_IDS.index(annotation["category_id"]) + 1
            )
        assert np.array_equal(labels_HW, wanted_HW)


def test_no_object_is_mostly_hidden() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        _, instances = draw_scene(rng, SPEC, num_shapes=4, crowd=True)
        for instance in instances:
            assert instance.mask_HW.sum() >= 0.6 * instance.full_area


def test_the_same_seed_draws_the_same_images(root: Path, tmp_path: Path) -> None:
    again = make_shapes(tmp_path / "again", SPEC)
    other = make_shapes(tmp_path / "other", ShapesSpec(num_train=4, num_val=2, size=96, seed=1))
    for name in (
        "train/train_00000.png",
        "annotations/instances_val.json",
        "labels/val/val_00003.png",
    ):
        assert (again / name).read_bytes() == (root / name).read_bytes()
    assert (other / "train/train_00000.png").read_bytes() != (
        root / "train/train_00000.png"
    ).read_bytes()


def test_a_finished_set_is_left_alone_and_another_one_replaced(tmp_path: Path) -> None:
    small = ShapesSpec(num_train=2, num_val=1, size=32)
    root = make_shapes(tmp_path / "shapes", small)
    written = (root / "shapes.json").stat().st_mtime_ns
    assert (make_shapes(root, small) / "shapes.json").stat().st_mtime_ns == written
    make_shapes(root, ShapesSpec(num_train=3, num_val=1, size=32))
    assert (
        len(json.loads((root / "annotations" / "instances_train.json").read_text())["images"]) == 3
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shapes"]


def test_files_of_others_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="other files"):
        make_shapes(tmp_path, SPEC)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_mmdetection_reads_it(root: Path) -> None:
    dataset = CocoDataset(
        data_root=str(root),
        ann_file="annotations/instances_train.json",
        data_prefix=dict(img="train/"),
        metainfo=dict(classes=CLASSES),
        pipeline=[
            dict(type=LoadImageFromFile),
            dict(type=LoadAnnotations, with_bbox=True, with_mask=True),
        ],
    )
    assert len(dataset) == SPEC.num_train
    ignored = 0
    for sample in dataset:
        assert sample["img"].shape == (96, 96, 3)
        assert (
            len(sample["gt_masks"])
            == len(sample["gt_bboxes_labels"])
            == len(sample["gt_ignore_flags"])
        )
        assert all(0 <= label < len(CLASSES) for label in sample["gt_bboxes_labels"])
        ignored += int(sample["gt_ignore_flags"].sum())
    assert ignored > 0
