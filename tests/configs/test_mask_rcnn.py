"""Mask R-CNN with VMamba and MambaVision builds and trains from an empty directory.

With what the authors used.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

import mmmamba
from mmmamba.checkpoints import list_published, published
from tests.parity.recipe import load_case

from .conftest import CONFIGS, build_detector, train_step

NAMES = [f"{family}_{size}" for family in ("mambavision", "vmamba") for size in "bst"]
FILES = [
    CONFIGS / "mask_rcnn" / f"{name}_{schedule}_coco.py"
    for name in NAMES
    for schedule in ("1x", "3x")
]


def load(name: str, schedule: str) -> Config:
    return Config.fromfile(CONFIGS / "mask_rcnn" / f"{name}_{schedule}_coco.py")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n.endswith("_t") else pytest.mark.slow) for n in NAMES]
)
def test_builds_and_trains_a_step_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = load(name, "1x")
    assert cfg.model == load(name, "3x").model
    if "window_size" in cfg.model.backbone:
        # On this image the official windows would be nothing but padding: 12544 tokens for 16.
        assert cfg.model.backbone.window_size == (8, 8, 112, 56)
        cfg.model.backbone.window_size = (8, 8, 4, 2)
    model = build_detector(cfg)
    assert cfg.model.neck.in_channels == model.backbone.out_channels
    before = [p.detach().clone() for p in model.backbone.parameters()][-1]
    losses = train_step(cfg, model)
    assert set(losses) >= {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"}
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert not torch.equal(before, list(model.backbone.parameters())[-1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_weights_and_expected_results_are_the_published_ones(path: Path) -> None:
    cfg = Config.fromfile(path)
    name, schedule = path.stem.removesuffix("_coco").rsplit("_", 1)
    assert cfg.model.backbone.arch == name
    assert cfg.model.backbone.init_cfg.checkpoint == published(name).url
    results = list_published(name, f"mask_rcnn_{schedule}")
    if not results:
        assert cfg.get("expected") is None
        return
    scores = {
        "coco/bbox_mAP": pytest.approx(results[0].expected["box_ap"] / 100),
        "coco/segm_mAP": pytest.approx(results[0].expected["mask_ap"] / 100),
    }
    assert dict(cfg.expected.metrics) == scores
    assert cfg.expected.verified is False and cfg.expected.source


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("vmamba_t", "vmamba/vmamba_tiny_s1l8.json"),
        ("vmamba_v0_t", "vmamba/vanilla_vmamba_tiny.json"),
        ("mambavision_t", "mambavision/mamba_vision_T.json"),
    ],
)
def test_the_parameters_without_decay_are_those_of_the_original_runs(name: str, case: str) -> None:
    """The originals spared names that hold `norm`, under their own names.

    Norms called by a number are decayed.
    """
    original = load_case(case)["state_dict"]
    backbone = mmmamba.create_backbone(name)
    wanted = {
        key
        for key in original
        if "norm" in key and not key.endswith(("running_mean", "running_var"))
    }
    optimizer = build_optim_wrapper(
        nn.ModuleDict(dict(backbone=backbone)), load("vmamba_t", "1x").optim_wrapper
    ).optimizer
    names = {id(p): key for key, p in backbone.named_parameters()}
    spared = {
        names[id(p)]
        for group in optimizer.param_groups
        if group["weight_decay"] == 0
        for p in group["params"]
    }
    assert spared == wanted
    assert set(names.values()) - spared == {
        k for k in original if "norm" not in k and k in names.values()
    }


@pytest.mark.parametrize(
    ("name", "schedule", "rate", "drop_path"),
    [
        ("vmamba_t", "1x", 1e-4, 0.2),
        ("vmamba_s", "3x", 1e-4, 0.3),
        ("vmamba_b", "1x", 1e-4, 0.6),
        ("mambavision_s", "3x", 1e-4, 0.2),
        ("mambavision_b", "1x", 2e-4, 0.2),
    ],
)
def test_hyperparameters_of_the_authors(
    name: str, schedule: str, rate: float, drop_path: float
) -> None:
    cfg = load(name, schedule)
    epochs, milestones = {"1x": (12, [8, 11]), "3x": (36, [27, 33])}[schedule]
    assert cfg.train_cfg.max_epochs == epochs and cfg.param_scheduler[1].milestones == milestones
    assert cfg.param_scheduler[1].end == epochs
    optimizer = dict(cfg.optim_wrapper.optimizer)
    assert optimizer == dict(
        type="AdamW", fused=True, lr=rate, betas=(0.9, 0.999), weight_decay=0.05
    )
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16
    crops = "RandomCrop" in json.dumps(cfg.train_dataloader.dataset.pipeline)
    assert crops == (schedule == "3x")
