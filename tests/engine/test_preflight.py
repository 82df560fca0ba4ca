"""A training whose AP would be 0 or -1 is stopped before it starts, and no image is read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

from mmmamba.datasets.shapes import CLASSES, SEG_CLASSES, ShapesSpec, make_shapes
from mmmamba.engine import preflight
from mmmamba.engine.preflight import check_annotations
from mmmamba.errors import UsageError

ROOT = Path(__file__).parents[2]
NAMES = "'circle', 'square', 'triangle'"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(
        tmp_path_factory.mktemp("data") / "shapes", ShapesSpec(num_train=6, num_val=3, size=64)
    )


@pytest.fixture
def cfg(shapes: Path) -> Config:
    cfg = Config.fromfile(ROOT / "configs/mask_rcnn/vmamba_t_1x_coco.py")
    for split in ("train", "val"):
        file = f"annotations/instances_{split}.json"
        cfg[f"{split}_dataloader"].dataset.update(
            data_root=str(shapes),
            ann_file=file,
            data_prefix=dict(img=split),
            metainfo=dict(classes=CLASSES),
        )
    cfg.val_evaluator.ann_file = str(shapes / "annotations/instances_val.json")
    cfg.model.roi_head.bbox_head.num_classes = cfg.model.roi_head.mask_head.num_classes = len(
        CLASSES
    )
    return cfg


def complaint(cfg: Config) -> str:
    with pytest.raises(UsageError) as raised:
        check_annotations(cfg, ("train", "val"))
    return str(raised.value)


def changed(cfg: Config, split: str, tmp_path: Path, change: Callable[[dict], object]) -> Config:
    """The annotations of a split, changed and written anew."""
    dataset = cfg[f"{split}_dataloader"].dataset
    content = json.loads((Path(dataset.data_root) / dataset.ann_file).read_text())
    change(content)
    dataset.ann_file = str(tmp_path / f"{split}.json")
    Path(dataset.ann_file).write_text(json.dumps(content))
    if split == "val":
        cfg.val_evaluator.ann_file = dataset.ann_file
    return cfg


def test_what_fits_passes_quickly_without_an_image_read(
    cfg: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_annotations(cfg, ("train", "val"))
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("an image was read"))
    start = time.perf_counter()
    check_annotations(cfg, ("train", "val"))
    assert time.perf_counter() - start < 1


def test_forgotten_classes(cfg: Config) -> None:
    del cfg.train_dataloader.dataset["metainfo"]
    cfg.model.roi_head.bbox_head.num_classes = cfg.model.roi_head.mask_head.num_classes = 80
    message = complaint(cfg)
    assert (
        "80 classes; the file has 'circle'" in message
        and f"metainfo=dict(classes=({NAMES}))" in message
    )


def test_a_class_that_is_spelt_otherwise(cfg: Config) -> None:
    cfg.val_dataloader.dataset.metainfo.classes = ("circle", "sqare", "triangle")
    message = complaint(cfg)
    assert (
        "val: class of the config is not in the file" in message
        and "Did you mean 'square'" in message
    )
    assert "train:" not in message


def test_classes_in_another_order(cfg: Config) -> None:
    cfg.train_dataloader.dataset.metainfo.classes = ("square", "circle", "triangle")
    assert f"write classes=({NAMES},)" in complaint(cfg)


def test_one_class_without_its_comma(cfg: Config) -> None:
    cfg.train_dataloader.dataset.metainfo.classes = "circle"
    assert "train: classes is a text" in complaint(cfg)


def test_heads_of_another_number_of_classes(cfg: Config) -> None:
    cfg.model.roi_head.mask_head.num_classes = 80
    message = complaint(cfg)
    assert "model.roi_head.mask_head.num_classes is 80, the data set has 3 classes" in message
    assert "bbox_head" not in message


def test_validation_without_annotations(cfg: Config, tmp_path: Path) -> None:
    message = complaint(
        changed(cfg, "val", tmp_path, lambda content: content.update(annotations=[]))
    )
    assert "val: no annotation of the config's classes (AP would be 0 or -1)" in message


def test_crowds_alone_cannot_be_scored(cfg: Config, tmp_path: Path) -> None:
    def crowd(content: dict) -> None:
        for annotation in content["annotations"]:
            annotation["iscrowd"] = 1

    assert "val: no annotation" in complaint(changed(cfg, "val", tmp_path, crowd))


def test_masks_that_are_not_there(cfg: Config, tmp_path: Path) -> None:
    def boxes(content: dict) -> None:
        for annotation in content["annotations"]:
            annotation["segmentation"] = []

    assert "train: no annotation has a mask" in complaint(changed(cfg, "train", tmp_path, boxes))


def test_no_image_left_after_filtering(cfg: Config) -> None:
    cfg.train_dataloader.dataset.filter_cfg.min_size = 100
    assert "train: no image left" in complaint(cfg) and "'min_size': 100" in complaint(cfg)


def test_images_in_another_folder(cfg: Config) -> None:
    cfg.train_dataloader.dataset.data_prefix.img = "val"
    assert "train: none of the images is where the config looks" in complaint(cfg)


def test_an_evaluator_of_another_split(cfg: Config, shapes: Path) -> None:
    cfg.val_evaluator.ann_file = str(shapes / "annotations/instances_train.json")
    assert "val: the evaluator scores against other images" in complaint(cfg)


def test_a_file_that_is_no_coco_file(cfg: Config, tmp_path: Path) -> None:
    cfg.train_dataloader.dataset.ann_file = str(tmp_path / "list.json")
    Path(cfg.train_dataloader.dataset.ann_file).write_text("[]")
    assert "train: not a COCO file" in complaint(cfg) and "it holds a list" in complaint(cfg)


def test_ids_of_images_that_are_texts_where_annotations_have_numbers(
    cfg: Config, tmp_path: Path
) -> None:
    def spell(content: dict) -> None:
        content["images"][0]["id"] = str(content["images"][0]["id"])

    message = complaint(changed(cfg, "train", tmp_path, spell))
    assert (
        "train: id of an image is a text in one place and a number in another (its annotations "
        "vanish" in message
    )
    assert "train_00000.png has the id '" in message and "annotations have image_id" in message


def test_ids_that_are_texts_everywhere_are_fine(cfg: Config, tmp_path: Path) -> None:
    def spell(content: dict) -> None:
        for image in content["images"]:
            image["id"] = str(image["id"])
        for annotation in content["annotations"]:
            annotation["image_id"] = str(annotation["image_id"])

    check_annotations(changed(cfg, "train", tmp_path, spell), ("train",))


def test_two_images_with_one_id(cfg: Config, tmp_path: Path) -> None:
    def share(content: dict) -> None:
        content["images"][1]["id"] = content["images"][0]["id"]

    message = complaint(changed(cfg, "train", tmp_path, share))
    assert (
        "train: two images have one id" in message
        and "train_00000.png and train_00001.png" in message
    )


def test_annotations_of_no_image_are_logged(
    cfg: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(preflight, "print_log", lambda text, *options: told.append(text))
    check_annotations(
        changed(cfg, "train", tmp_path, lambda content: content["images"].pop()), ("train",)
    )
    assert len(told) == 1 and told[0].startswith(
        "train: annotation of an image that is not in the file"
    )


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("box", [[500, 500, 10, 10], [5, 5, 0.5, 3], [1, 2, 3]])
def test_no_box_within_its_image(cfg: Config, tmp_path: Path, split: str, box: list) -> None:
    def move(content: dict) -> None:
        for annotation in content["annotations"]:
            annotation["bbox"] = box

    message = complaint(changed(cfg, split, tmp_path, move))
    assert (
        f"{split}: no annotation has a box within its image" in message
        and f"the first is {box}" in message
    )


def test_label_maps(shapes: Path) -> None:
    cfg = Config.fromfile(ROOT / "configs/upernet/vmamba_t_160k_ade20k-512x512.py")
    for split in ("train", "val"):
        cfg[f"{split}_dataloader"].dataset = dict(
            type="BaseSegDataset",
            data_root=str(shapes),
            img_suffix=".png",
            metainfo=dict(classes=SEG_CLASSES),
            data_prefix=dict(img_path=split, seg_map_path=f"labels/{split}"),
        )
    message = complaint(cfg)
    assert (
        "model.decode_head.num_classes is 150" in message
        and "model.auxiliary_head.num_classes is 150" in message
    )
    cfg.model.decode_head.num_classes = cfg.model.auxiliary_head.num_classes = len(SEG_CLASSES)
    check_annotations(cfg, ("train", "val"))
    cfg.train_dataloader.dataset.img_suffix = ".jpg"
    cfg.val_dataloader.dataset.seg_map_suffix = "_mask.png"
    message = complaint(cfg)
    assert "holds 6 .png, img_suffix is '.jpg'" in message
    assert "val: image without label map" in message and "val_00000_mask.png" in message


def test_several_checkpoints_are_not_one() -> None:
    """As `--cfg-options load_from=run,2/epoch_1.pth` reads it."""
    with pytest.raises(
        UsageError, match=r"load_from is \['run', '2/epoch_1.pth'\], wanted the path"
    ):
        preflight.check_checkpoints(Config(dict(load_from=["run", "2/epoch_1.pth"])), "test")
