"""Data is found in the layouts that tools export, and what cannot be settled is asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmamba.datasets.discovery import find_coco, find_label_maps
from mmmamba.datasets.layout import split_names, split_of
from mmmamba.errors import UsageError


def put_coco(
    file: Path, images: Path, names: list[str], categories: list | None = None, mask: bool = True
) -> None:
    images.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(images / name)
    content = dict(
        images=[dict(id=i, file_name=name, width=8, height=8) for i, name in enumerate(names)],
        annotations=[
            dict(
                id=i + 1,
                image_id=i,
                category_id=1,
                bbox=[0, 0, 4, 4],
                area=16,
                iscrowd=0,
                segmentation=[[0, 0, 4, 0, 4, 4]] if mask else [],
            )
            for i in range(len(names))
        ],
        categories=categories or [dict(id=1, name="cat"), dict(id=2, name="dog")],
    )
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("train_file", "train_images", "val_file", "val_images"),
    [
        (
            "annotations/instances_train2017.json",
            "train2017",
            "annotations/instances_val2017.json",
            "val2017",
        ),
        ("annotations/train.json", "images/train", "annotations/val.json", "images/val"),
        ("train/_annotations.coco.json", "train", "valid/_annotations.coco.json", "valid"),
        ("train.json", "images", "validation.json", "images"),
        ("train/annotations.json", "train/images", "val/annotations.json", "val/images"),
    ],
)
def test_coco_layouts(
    tmp_path: Path, train_file: str, train_images: str, val_file: str, val_images: str
) -> None:
    put_coco(tmp_path / train_file, tmp_path / train_images, ["0.jpg", "1.jpg"])
    put_coco(
        tmp_path / val_file,
        tmp_path / val_images,
        ["0.jpg"] if val_images != train_images else ["2.jpg"],
    )
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / "annotations/captions_train2017.json").write_text("{}")
    data = find_coco(tmp_path, tmp_path / "out")
    assert (data.train.annotations, data.train.images) == (
        tmp_path / train_file,
        tmp_path / train_images,
    )
    assert (data.val.annotations, data.val.images) == (tmp_path / val_file, tmp_path / val_images)
    assert data.classes == ("cat", "dog") and data.masks and data.images == 2 and data.test is None


def test_label_maps_of_the_same_names_are_no_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        put_coco(tmp_path / f"annotations/instances_{split}.json", tmp_path / split, ["0.png"])
        shutil.copytree(tmp_path / split, tmp_path / "labels" / split)
    assert find_coco(tmp_path, tmp_path / "out").train.images == tmp_path / "train"


def test_a_group_that_nothing_belongs_to_is_no_class(tmp_path: Path) -> None:
    categories = [
        dict(id=0, name="cells", supercategory="none"),
        dict(id=1, name="RBC", supercategory="cells"),
    ]
    for split in ("train", "valid"):
        put_coco(
            tmp_path / split / "_annotations.coco.json",
            tmp_path / split,
            ["0.jpg"],
            categories,
            mask=False,
        )
    data = find_coco(tmp_path, tmp_path / "out")
    assert data.classes == ("RBC",) and not data.masks and "'cells'" in data.said[0]


def test_one_file_is_divided_the_same_way_each_time(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(10)]
    put_coco(tmp_path / "data/annotations/instances_default.json", tmp_path / "data/images", names)
    with pytest.raises(UsageError, match="--val-share 0.2"):
        find_coco(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    data = find_coco(tmp_path / "data", tmp_path / "out", 0.3)
    parts = [json.loads(part.annotations.read_text()) for part in (data.train, data.val)]
    train, val = parts
    files = [{image["file_name"] for image in train["images"]}]
    files.append({image["file_name"] for image in val["images"]})
    assert (len(files[0]), len(files[1])) == (7, 3) and files[0] | files[1] == set(names)
    for part in parts:
        assert {a["image_id"] for a in part["annotations"]} == {
            image["id"] for image in part["images"]
        }
    assert data.val.images == tmp_path / "data/images"
    assert split_names(reversed(names), 0.3) == split_names(names, 0.3)
    # With more images, those held out stay so, but for those that newcomers push out.
    more = split_names([*names, *(f"{i}.jpg" for i in range(10, 20))], 0.3)
    assert len(more[1]) == 6 and len(set(more[1]) & files[1]) >= 2


def test_what_is_wrong_with_coco_data(tmp_path: Path) -> None:
    assert find_coco(tmp_path, tmp_path / "out") is None
    put_coco(tmp_path / "train.json", tmp_path / "images", ["0.jpg", "1.jpg"])
    put_coco(tmp_path / "val.json", tmp_path / "images", ["2.jpg"], [dict(id=1, name="cow")])
    with pytest.raises(UsageError, match="the classes differ.*cat, dog.*cow"):
        find_coco(tmp_path, tmp_path / "out")
    (tmp_path / "images/1.jpg").unlink()
    with pytest.raises(UsageError, match="not 1.jpg"):
        find_coco(tmp_path, tmp_path / "out")
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(UsageError, match="nowhere below"):
        find_coco(tmp_path, tmp_path / "out")
    (tmp_path / "train_new.json").write_text("{}")
    with pytest.raises(UsageError, match="2 train files: train.json, train_new.json"):
        find_coco(tmp_path, tmp_path / "out")


def test_a_file_of_no_name_beside_one_for_validation_is_for_training(tmp_path: Path) -> None:
    put_coco(tmp_path / "instances.json", tmp_path / "images", ["0.jpg", "1.jpg"])
    put_coco(tmp_path / "val.json", tmp_path / "images", ["2.jpg"])
    data = find_coco(tmp_path, tmp_path / "out")
    assert data.images == 2 and data.said[0].startswith(f"training: {tmp_path}/instances.json")
    with pytest.raises(UsageError, match="has a validation split.*leave --val-share away"):
        find_coco(tmp_path, tmp_path / "out", 0.2)


def test_names_of_splits() -> None:
    assert split_of(Path("annotations/instances_train2017.json")) == "train"
    assert split_of(Path("valid/_annotations.coco.json")) == "val"
    assert split_of(Path("test-dev.json")) == "test"
    assert split_of(Path("trains/instances_default.json")) is None


def put_labels(
    images: Path, labels: Path, names: list[str], values: list[int], suffix: str = ".png"
) -> None:
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.new("RGB", (8, 8)).save(images / f"{name}.jpg")
        Image.fromarray(np.full((8, 8), values[index % len(values)], np.uint8)).save(
            labels / f"{name}{suffix}"
        )


@pytest.mark.parametrize(
    ("images", "labels", "train", "val"),
    [("images", "annotations", "training", "validation"), ("img_dir", "ann_dir", "train", "val")],
)
def test_folders_of_label_maps(
    tmp_path: Path, images: str, labels: str, train: str, val: str
) -> None:
    for split in (train, val):
        put_labels(tmp_path / images / split, tmp_path / labels / split, ["a", "b"], [0, 2])
    data = find_label_maps(tmp_path, tmp_path / "out")
    assert (
        data.train.images == tmp_path / images / train
        and data.val.annotations == tmp_path / labels / val
    )
    assert (data.image_suffix, data.label_suffix, data.images) == (".jpg", ".png", 2)
    assert data.classes == ("background", "class_1", "class_2") and not data.zero_ignored
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    data = find_label_maps(tmp_path, tmp_path / "out")
    assert data.classes == ("road", "sky") and data.zero_ignored
    (tmp_path / "classes.txt").write_text("road\n")
    with pytest.raises(UsageError, match="names 1 classes, but the label maps hold values up to 2"):
        find_label_maps(tmp_path, tmp_path / "out")


def test_other_folders_of_label_maps(tmp_path: Path) -> None:
    for split in ("train", "val"):
        put_labels(
            tmp_path / "a" / split / "images",
            tmp_path / "a" / split / "masks",
            ["x"],
            [1],
            "_mask.png",
        )
        put_labels(tmp_path / "b" / split, tmp_path / "b" / f"{split}annot", ["x"], [1])
    data = find_label_maps(tmp_path / "a", tmp_path / "out")
    assert data.label_suffix == "_mask.png" and data.train.annotations == tmp_path / "a/train/masks"
    assert (
        find_label_maps(tmp_path / "b", tmp_path / "out").val.annotations == tmp_path / "b/valannot"
    )


def test_binary_masks_of_one_folder_are_divided_and_renumbered(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put_labels(root / "images", root / "masks", list("abcdefghij"), [0, 255])
    with pytest.raises(UsageError, match="--val-share"):
        find_label_maps(root, tmp_path / "out")
    data = find_label_maps(root, tmp_path / "out", 0.2)
    assert len(data.classes) == 2 and data.images == 8 and not data.zero_ignored
    assert len(data.val.names.read_text().split()) == 2
    label = data.train.annotations / f"{data.train.names.read_text().split()[0]}{data.label_suffix}"
    assert set(np.unique(np.asarray(Image.open(label)))) <= {0, 1}
    assert set(np.unique(np.asarray(Image.open(root / "masks/b.png")))) == {255}


def test_what_is_wrong_with_label_maps(tmp_path: Path) -> None:
    assert find_label_maps(tmp_path, tmp_path / "out") is None
    for split in ("train", "val"):
        put_labels(tmp_path / "images" / split, tmp_path / "labels" / split, ["a", "b"], [1])
    Image.new("RGB", (8, 8)).save(tmp_path / "labels/train/b.png")
    with pytest.raises(UsageError, match="b.png is a picture in colours"):
        find_label_maps(tmp_path, tmp_path / "out")
    (tmp_path / "labels/train/b.png").unlink()
    with pytest.raises(UsageError, match="b.png: there is no such file"):
        find_label_maps(tmp_path, tmp_path / "out")
    Image.new("RGB", (8, 8)).save(tmp_path / "images/train/c.png")
    with pytest.raises(UsageError, match="1 of .png"):
        find_label_maps(tmp_path, tmp_path / "out")
