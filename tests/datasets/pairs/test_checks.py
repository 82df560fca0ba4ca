"""What is wrong with pairs is found before training, and named while it reads them."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmmamba.detection  # noqa: F401
from mmmamba.datasets.checks.run import check_split
from mmmamba.datasets.checks.splits import config_splits
from mmmamba.datasets.guarded.build import build_checked
from mmmamba.datasets.guarded.ledger import DataError, Ledger
from mmmamba.datasets.shape_pairs import CLASSES, FOLDERS
from mmmamba.engine.preflight import check_annotations, check_data
from mmmamba.errors import UsageError


def config(root: Path, in_channels: int = 6, kind: str = "PairedSegDataset", **load) -> Config:
    prefix = {key: f"{folder}/train" for key, folder in FOLDERS.items()}
    if kind != "PairedSegDataset":
        del prefix["second_path"]
    dataset = dict(
        type=kind,
        data_root=str(root),
        data_prefix=prefix,
        img_suffix=".png",
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(type="LoadPairedImage", **load), dict(type="LoadAnnotations")],
    )
    model = dict(
        type="EncoderDecoder",
        backbone=dict(type="VMamba", arch="vmamba_t", in_channels=in_channels),
        decode_head=dict(num_classes=len(CLASSES)),
    )
    return Config(dict(default_scope="mmseg", model=model, train_dataloader=dict(dataset=dataset)))


def found(cfg: Config) -> dict[str, list[str]]:
    init_default_scope("mmseg")
    (split,) = config_splits(cfg, ("train",))
    report = check_split(cfg, split).report
    kinds = {}
    for kind, kept in report.examples.items():
        kinds[kind] = [f"{Path(finding.file).name}: {finding.detail}" for finding in kept]
    kinds.pop("class-empty", None)
    return kinds


def test_good_pairs_are_clean(pairs):
    assert found(config(pairs)) == {}


def test_missing_unreadable_and_other_sized_partners_are_named(pairs):
    thermal = pairs / "thermal/train"
    (thermal / "00000.png").unlink()
    (thermal / "00001.png").write_bytes(b"nothing")
    cv2.imwrite(str(thermal / "00002.png"), np.zeros((32, 48), np.uint8))
    cv2.imwrite(str(thermal / "00003.png"), np.zeros((64, 64), np.uint16))
    kinds = found(config(pairs))
    assert set(kinds) == {"partner-missing", "partner-unreadable", "partner-size", "partner-deep"}
    assert "rgb/train/00000.png" in kinds["partner-missing"][0]
    assert kinds["partner-unreadable"][0].startswith("00001.png")
    assert "48 x 32" in kinds["partner-size"][0] and "is 64 x 64" in kinds["partner-size"][0]
    assert "second_color_type='grayscale'" in kinds["partner-deep"][0]


def test_wrong_channels(pairs):
    cv2.imwrite(str(pairs / "thermal/train/00000.png"), np.zeros((64, 64, 3), np.uint8))
    kinds = found(config(pairs, 4, second_channels=1, second_color_type="unchanged"))
    assert kinds == {
        "partner-channels": [
            "00000.png: 3 channels: mode RGB, second_color_type='unchanged', wanted 1 or 1"
        ]
    }


def test_a_model_of_other_channels(pairs):
    kinds = found(config(pairs, in_channels=3))
    assert list(kinds) == ["image-channels"]
    assert (
        "read with 3 + 3 (second_channels), in_channels of the backbone is 3"
        in (kinds["image-channels"][0])
    )


def test_in_channels_that_nobody_wrote_are_the_backbone_s_own(pairs):
    cfg = config(pairs)
    del cfg.model.backbone.in_channels
    assert list(found(cfg)) == ["image-channels"]


def test_training_does_not_begin_without_partners(pairs):
    (pairs / "thermal/train/00003.png").unlink()
    with pytest.raises(UsageError, match="image without its second one(.|\n)*thermal/train/00003"):
        check_annotations(config(pairs), ("train",))
    os.rename(pairs / "thermal", pairs / "infrared")
    with pytest.raises(UsageError, match="Missing(.|\n)*thermal/train"):
        check_data(config(pairs), ("train",))


def test_a_data_set_that_names_no_second_images(pairs):
    cfg = config(pairs, kind="BaseSegDataset")
    with pytest.raises(UsageError, match="PairedSegDataset with second_path"):
        check_annotations(cfg, ("train",))
    assert "partner-unnamed" in found(cfg)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "has no partner"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "second image .* it is a pipe"),
        (
            lambda file: file.write_bytes(file.read_bytes()[:200]),
            "failed to load .*thermal/train/00002",
        ),
        (lambda file: cv2.imwrite(str(file), np.zeros((9, 8), np.uint8)), "is 8 x 9"),
    ],
)
def test_while_training_reads_them_they_are_named(pairs, spoil, message):
    init_default_scope("mmseg")
    spoil(pairs / "thermal/train/00002.png")
    dataset = build_checked(config(pairs).train_dataloader.dataset, Ledger(), skip=False)
    assert dataset[1]["img"].shape == (64, 64, 6)
    with pytest.raises(DataError, match=f"rgb/train/00002.png(.|\n)*{message}"):
        dataset[2]
