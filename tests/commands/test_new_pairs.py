"""`mmmamba new --second-modality`: a config for pairs, and what is said of data that has none."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope

from mmmamba.commands import main
from mmmamba.datasets.shape_pairs import CLASSES, make_pairs
from mmmamba.datasets.shapes import ShapesSpec


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_pairs(tmp_path / "data", ShapesSpec(num_train=4, num_val=2, size=64))


def new(*words: str) -> int:
    return main(["new", "--data", "data", "--out", "mine.py", *words])


PLAIN = ("--backbone", "efficientvmamba_t", "--head", "upernet")


def batch_of(cfg: Config) -> tuple:
    with DefaultScope.overwrite_default_scope("mmseg"):
        sample = DATASETS.build(cfg.train_dataloader.dataset)[0]
        preprocessor = MODELS.build(cfg.model.data_preprocessor)
    batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]])
    return preprocessor(batch, training=True)["inputs"]


def test_sigma_is_what_pairs_get(data, capsys):
    assert new("--second-modality", "thermal") == 0
    printed = capsys.readouterr().out
    assert "sigma/sigma_t_mfnet-480x640" in printed and "--second SECOND" in printed
    cfg = Config.fromfile("mine.py")
    assert cfg.model.backbone.type == "SigmaBackbone"
    assert cfg.model.decode_head.num_classes == len(CLASSES)
    assert not cfg.model.data_preprocessor.rgb_to_bgr
    batch = batch_of(cfg)
    assert batch.shape == (1, 6, 480, 640)
    assert main(["check-data", "mine.py", "--quick", "--samples", "0"]) == 0


def test_another_backbone_takes_four_channels_each_with_its_mean(data, capsys):
    assert new("--second-modality", "data/thermal", *PLAIN) == 0
    cfg = Config.fromfile("mine.py")
    assert cfg.model.backbone.in_channels == 4
    heat = [cv2.imread(str(file), 0) for file in (data / "thermal/train").glob("*.png")]
    mean, std = cfg.model.data_preprocessor.mean, cfg.model.data_preprocessor.std
    assert mean[:3] == [123.675, 116.28, 103.53]
    assert mean[3] == pytest.approx(np.mean(heat), rel=1e-3)
    assert std[3] == pytest.approx(np.std(heat), rel=1e-3)
    kinds = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert kinds[0] == "LoadPairedImage" and "PhotoMetricDistortionOfRGB" in kinds
    assert cfg.tta_pipeline[0].type == "LoadPairedImage"
    assert batch_of(cfg).shape == (1, 4, 512, 512)
    assert main(["check-data", "mine.py"]) == 0


def test_deep_files_keep_their_values(data):
    for file in data.glob("thermal/*/*.png"):
        cv2.imwrite(str(file), cv2.imread(str(file), 0).astype(np.uint16) * 200)
    assert new("--second-modality", "thermal", *PLAIN) == 0
    cfg = Config.fromfile("mine.py")
    load = cfg.train_dataloader.dataset.pipeline[0]
    assert (load.second_channels, load.second_color_type) == (1, "unchanged")
    assert 15_000 < cfg.model.data_preprocessor.mean[3] < 35_000
    assert abs(float(batch_of(cfg)[:, 3].mean())) < 2


def test_colours_are_three_channels_and_grey_saved_as_colours_is_one(data):
    for file in data.glob("thermal/*/*.png"):
        cv2.imwrite(str(file), cv2.applyColorMap(cv2.imread(str(file), 0), cv2.COLORMAP_JET))
    assert new("--second-modality", "thermal", *PLAIN) == 0
    assert Config.fromfile("mine.py").model.backbone.in_channels == 6
    for file in data.glob("thermal/*/*.png"):
        cv2.imwrite(str(file), cv2.cvtColor(cv2.imread(str(file), 0), cv2.COLOR_GRAY2BGR))
    assert new("--second-modality", "thermal", "--force", *PLAIN) == 0
    assert Config.fromfile("mine.py").model.backbone.in_channels == 4


def test_folders_of_splits_above_and_another_ending(data):
    for split in ("train", "val"):
        for old, name in (("rgb", "images"), ("thermal", "infrared"), ("labels", "masks")):
            (data / split).mkdir(exist_ok=True)
            shutil.move(data / old / split, data / split / name)
    for file in data.glob("*/infrared/*.png"):
        cv2.imwrite(str(file.with_suffix(".bmp")), cv2.imread(str(file), 0))
        file.unlink()
    for old in ("rgb", "thermal", "labels"):
        (data / old).rmdir()
    assert new("--second-modality", "infrared", *PLAIN) == 0
    train = Config.fromfile("mine.py").train_dataloader.dataset
    assert train.data_prefix.second_path == "train/infrared" and train.second_suffix == ".bmp"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--second-modality", "nowhere"), "no second image of .*rgb/train/00000.png"),
        (("--head", "sigma", "--backbone", "sigma_t"), "learns from pairs: --second-modality DIR"),
        (
            ("--second-modality", "thermal", "--head", "sigma", "--backbone", "vmamba_t"),
            "with its own backbones: .*sigma_s",
        ),
        (("--head", "upernet"), "--backbone is missing"),
        (
            ("--second-modality", "thermal", "--backbone", "vmamba_t"),
            "--head is missing",
        ),
    ],
)
def test_what_is_missing_is_said(data, capsys, words, message):
    assert new(*words) == 2
    error = " ".join(capsys.readouterr().err.split())

    assert re.search(message, error), error


def test_images_without_partners_are_named(data, capsys):
    (data / "thermal/val/00001.png").unlink()
    assert new("--second-modality", "thermal") == 2
    assert "1 of 2 images of val have no second one" in " ".join(capsys.readouterr().err.split())
