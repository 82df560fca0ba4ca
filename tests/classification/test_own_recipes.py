"""Recipes for other images than ImageNet's, and Mamba-ND's, beside their authors' numbers."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("mmpretrain")

import mmpretrain.datasets  # noqa: F401  its transforms
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmmamba.config.open import open_config

from .test_recipes import FOLDER, built, rates

FOLDERS = {
    "res_vmamba_s_300e_cnfood241": 241,
    "medmamba_t_100e_pad-ufes-20": 6,
    "rsmamba_b_500e_resisc45": 45,
    "rsmamba_l_500e_resisc45": 45,
    "rsmamba_h_500e_resisc45": 45,
}
"""Recipes of classes in folders, and how many classes."""


def opened(name: str) -> Config:
    return open_config(FOLDER / f"{name}.py")


def test_each_file_is_held_to_its_numbers_here_or_with_the_others() -> None:
    here = {file.stem for file in FOLDER.glob("*.py") if "_imagenet" not in file.stem}
    assert here == FOLDERS.keys()


@pytest.mark.parametrize("name", FOLDERS)
def test_classes_in_folders(name: str) -> None:
    cfg = opened(name)
    classes = FOLDERS[name]
    assert cfg.model.data_preprocessor.num_classes == cfg.model.backbone.num_classes == classes
    assert name.startswith(f"{cfg.model.backbone.arch}_{cfg.train_cfg.max_epochs}e_")
    assert "expected" not in cfg
    for split in ("train", "val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        assert dataset.type == "CustomDataset" and dataset.data_root == cfg.data_root
        assert dataset.data_prefix == ("train" if split == "train" else "val")


@pytest.mark.slow
def test_food() -> None:
    cfg = opened("res_vmamba_s_300e_cnfood241")
    _, optimizer = built(cfg)
    found = rates(cfg, optimizer)
    # 5e-4 for 512 images, and 128 on one GPU.
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 128
    assert max(found) == pytest.approx(5e-4 * 128 / 512)
    assert found[0] == pytest.approx(5e-7) and found[-1] == pytest.approx(5e-6, rel=0.1)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.05}
    assert cfg.optim_wrapper.clip_grad.max_norm == 5.0
    assert cfg.custom_hooks[0].momentum == pytest.approx(1e-4)
    assert cfg.model.backbone.drop_path_rate == 0.3


def test_medicine(tmp_path: Path) -> None:
    cfg = opened("medmamba_t_100e_pad-ufes-20")
    _, optimizer = built(cfg)
    assert type(optimizer) is torch.optim.Adam and cfg.optim_wrapper.type == "OptimWrapper"
    assert {(g["lr"], g["weight_decay"]) for g in optimizer.param_groups} == {(1e-4, 0)}
    assert set(rates(cfg, optimizer)) == {1e-4}
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 32
    # Plain cross entropy of images that are not mixed.
    assert cfg.model.head.loss.label_smooth_val == 0 and cfg.model.train_cfg is None
    assert cfg.optim_wrapper.clip_grad is None and cfg.custom_hooks == []
    assert set(cfg.model.data_preprocessor.mean + cfg.model.data_preprocessor.std) == {127.5}
    assert [tuple(side) for side in sides(cfg, tmp_path)] == [(224, 224), (224, 224)]


def test_aerial_scenes(tmp_path: Path) -> None:
    cfg = opened("rsmamba_b_500e_resisc45")
    _, optimizer = built(cfg)
    found = rates(cfg, optimizer)
    assert max(found) == pytest.approx(5e-4) and len(found) == 500 * 4
    assert found[0] == pytest.approx(5e-7) and found[-1] == pytest.approx(1e-5, rel=0.1)
    assert found[9 * 4] < found[10 * 4] == pytest.approx(5e-4, rel=0.01)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.05}
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.train_dataloader.dataset.pipeline[1].crop_ratio_range == (0.4, 1.0)
    assert [one.alpha for one in cfg.model.train_cfg.augments] == [0.8, 1.0]
    assert [tuple(side) for side in sides(cfg, tmp_path)] == [(224, 224), (224, 224)]


def sides(cfg: Config, folder: Path) -> list[torch.Size]:
    """Height and width that the pipelines of training and test give an image."""
    Image.effect_noise((300, 260), 64).convert("RGB").save(folder / "noise.png")
    made = []
    for split in ("train", "val"):
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            pipeline = Compose(cfg[f"{split}_dataloader"].dataset.pipeline)
        made.append(pipeline(dict(img_path=str(folder / "noise.png"), gt_label=0))["inputs"])
    return [image.shape[1:] for image in made]


@pytest.mark.slow
@pytest.mark.parametrize("name, top1", [("mamba_nd_s", 81.7), ("mamba_nd_b", 83.0)])
def test_mamba_nd(name: str, top1: float) -> None:
    cfg = opened(f"{name}_300e_imagenet")
    assert cfg.model.backbone.arch == name and cfg.model.backbone.drop_path_rate == 0.1
    assert dict(cfg.expected.metrics) == {"accuracy/top1": top1}
    assert cfg.optim_wrapper.clip_grad.max_norm == 2.0
    if name == "mamba_nd_b":
        return
    model, optimizer = built(cfg)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for parameter, value in model.backbone.named_parameters():
        depth = model.backbone.get_layer_depth(f"backbone.{parameter}", prefix="backbone.")[0]
        group = groups[id(value)]
        assert group["lr"] == pytest.approx(1e-3 * 0.95 ** (25 - depth)), parameter
        assert group["weight_decay"] == pytest.approx(0.1 * decay(parameter)), parameter
    assert depth_of(model, "column.0.blocks.0.norm.weight") == 1
    assert depth_of(model, "column.1.blocks.13.norm.weight") == 24
    assert depth_of(model, "classifier.head.weight") == 25
    # The first group is the stem's. All groups end at one rate.
    stem, found = 1e-3 * 0.95**25, rates(cfg, optimizer)
    assert len(found) == 300 * 4 and found[0] == pytest.approx(1e-4 * stem)
    # The cosine begins in the middle of the warm-up.
    assert found[10 * 4] == pytest.approx(stem, rel=0.002) == max(found)
    assert found[-1] == pytest.approx(1e-5, rel=0.1)


def decay(parameter: str) -> float:
    """The factor of what is decayed, by its name."""
    if parameter.endswith((".bias", ".pos_embed")) or parameter.startswith(
        ("column.1.norm", "classifier.norm")
    ):
        return 0.0
    return 0.1 if parameter.endswith((".A_log", "norm.weight")) else 1.0


def depth_of(model: torch.nn.Module, parameter: str) -> int:
    return model.backbone.get_layer_depth(f"backbone.{parameter}", prefix="backbone.")[0]
