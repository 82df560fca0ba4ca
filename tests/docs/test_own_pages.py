"""docs/channels.md and docs/own_config.md: their configs train, and predict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmmamba.commands import main
from mmmamba.config.find import find_config
from mmmamba.config.open import check_config, open_config
from mmmamba.inference import Predictor

from ..engine.tiny_models import detection
from .blocks import run_page

BASE = "mask_rcnn/vmamba_t_1x_coco"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A small detector on drawn shapes, `mine.py` in the current folder."""
    monkeypatch.chdir(tmp_path)
    cfg, shipped = detection(tmp_path), Config.fromfile(find_config(BASE))
    test = dict(cfg.train_dataloader.dataset, test_mode=True)
    test["pipeline"] = [
        dict(step, scale=(32, 32)) if step.type == "Resize" else step
        for step in shipped.test_dataloader.dataset.pipeline
    ]
    cfg.test_dataloader = dict(shipped.test_dataloader, dataset=test, num_workers=0)
    cfg.test_dataloader["persistent_workers"] = False
    cfg.val_dataloader = cfg.test_dataloader
    annotations = f"{test['data_root']}/{test['ann_file']}"
    cfg.val_evaluator = dict(type="CocoMetric", ann_file=annotations, metric="bbox")
    cfg.val_cfg, cfg.test_cfg = dict(type="ValLoop"), dict(type="TestLoop")
    cfg.test_evaluator = cfg.val_evaluator
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks, cfg.work_dir = [], None
    cfg.dump("mine.py")
    return cfg


def rewrite(change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Change the shapes' files. Returns one of them."""
    for path in sorted(Path("shapes/train").glob("*.png")):
        cv2.imwrite(str(path), change(cv2.imread(str(path))))
    return path


def deep_and_four(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, image[..., :1]]).astype(np.uint16) * 257


def deep_and_grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257


def trained(name: str, block: str, image: Path) -> None:
    Path(f"{name}.py").write_text(block)
    assert main(["train", f"{name}.py"]) == 0
    assert Path(f"work_dirs/{name}/pictures/batch_0.jpg").is_file()
    found = Predictor(f"work_dirs/{name}", score_thr=0)(image)
    assert found.image.shape[2] == 3 and found.image.dtype == np.uint8
    assert found.image.max() > 200 and len(found)
    assert found.plot().shape[2] == 3


def test_channels(mine: Config, capsys: pytest.CaptureFixture) -> None:
    def four(block: str) -> None:
        image = rewrite(deep_and_four)
        assert main(["check-data", "mine.py", "--samples", "0", "--splits", "train"]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert "image of more than 8 bits × 10" in printed
        assert "image with an alpha channel × 10" in printed
        trained("four", block, image)
        assert main(["check-data", "four.py", "--samples", "0", "--splits", "train"]) == 0
        run = "work_dirs/four"
        assert main(["inspect", run, str(image), "--what", "features"]) == 0
        # What the config does not read is refused in words.
        cv2.imwrite("three.png", np.zeros((32, 32, 3)))
        assert main(["infer", run, "three.png", "--out", "found"]) == 2
        assert "an image has 3 channels and" in capsys.readouterr().err

    def grey(block: str) -> None:
        trained("grey", block, rewrite(deep_and_grey))

    def measured(block: str) -> None:
        capsys.readouterr()
        exec(block.replace("data/train", "shapes/train"), {})
        # The means of four channels, and their deviations.
        assert len(capsys.readouterr().out.split("]")[0].strip("[ ").split()) == 4

    run_page(
        "docs/channels.md",
        special={
            "backbone=dict(in_channels=4)": four,
            "backbone=dict(in_channels=1)": grey,
            "glob(": measured,
        },
    )


def test_own_config(mine: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my_parts.py").write_text("")
    # The folder is made importable, for this test alone.
    monkeypatch.setattr(sys, "path", list(sys.path))

    def built(block: str) -> None:
        Path("over.py").write_text(block)
        cfg = open_config("over.py")
        check_config(cfg)
        init_default_scope(cfg.default_scope)
        MODELS.build(cfg.model)
        if "EMAHook" in block:
            assert cfg.custom_hooks[-1].type == "EMAHook"
        if "RandomChoiceResize" in block:
            kinds = [step.type for step in cfg.train_dataloader.dataset.pipeline]
            assert "RandomChoiceResize" in kinds and "Resize" not in kinds
            mine.train_dataloader.dataset.pipeline = cfg.train_dataloader.dataset.pipeline

    run_page("docs/own_config.md", special={"_base_": built}, parsed=("load_from",))
