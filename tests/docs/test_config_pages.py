"""Pages whose Python is parts of configs: README, drop_in, checkpoints and train_coco_ade20k."""

from __future__ import annotations

import inspect
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import mmmamba
from mmmamba import create_backbone
from mmmamba.checkpoints import published
from mmmamba.checkpoints.download import cached_path
from mmmamba.config.find import find_config

from ..inference import colours
from ..inference.colours import draw_image
from .blocks import run_page

detector_run = colours.detector_run
STOCK = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"


@pytest.fixture(autouse=True)
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VMamba-T's published file, of random weights: downloaded, and in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    url = published("vmamba_t").url
    state = create_backbone("vmamba_t", classifier=True).state_dict()
    for path in (cached_path(url), Path(url).name):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": state}, path)


def over(base: str):
    """A part of a config, put over a base, makes a model whose maps fit its heads."""

    def build(block: str) -> None:
        Path("my_config.py").write_text(
            block if "_base_" in block else f"_base_ = {base!r}\n{block}"
        )
        cfg = Config.fromfile("my_config.py")
        with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device("meta"):
            model = MODELS.build(cfg.model).eval()
        assert type(model.backbone).__name__ == cfg.model.backbone.type
        maps = model.extract_feat(torch.zeros(1, 3, 64, 64, device="meta"))
        if hasattr(model, "decode_head"):
            maps = [model.decode_head(maps)]
        assert maps[0].shape[-1] == 16

    return build


def test_readme(detector_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = mmmamba.train

    def trained(*args: object, **keywords: object) -> Path:
        """What `docs/python.md` does on real data: here the arguments fit, and a run is there."""
        inspect.signature(train).bind(*args, **keywords)
        return detector_run

    monkeypatch.setattr(mmmamba, "train", trained)
    cv2.imwrite("photo.jpg", draw_image(60, 80, 4, side=(10, 25)))
    run_page("README.md", special={"model = dict": over(STOCK)}, parsed=("m",))


def test_drop_in() -> None:
    run_page("docs/drop_in.md", special={"_base_": over(STOCK)}, parsed=("mmmamba",))


def test_checkpoints() -> None:
    run_page(
        "docs/checkpoints.md",
        special={
            "model = dict": over(str(find_config("mask_rcnn/vmamba_t_1x_coco"))),
        },
    )


def test_training_on_coco_and_ade20k() -> None:
    run_page("docs/train_coco_ade20k.md", parsed=("mmmamba", "torchrun"))
