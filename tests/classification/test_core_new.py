"""Configs for folders of classes: `mmmamba new --head classifier`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmpretrain")

from mmengine.config import Config

import mmmamba
from mmmamba.commands.new.classifier import OTHER_LOGITS, classifiers
from mmmamba.errors import UsageError
from mmmamba.models.trunks.base import MambaBackbone

from .core_data import draw, draw_splits


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def test_splits_over_the_recipe_of_the_backbone(data: Path) -> None:
    draw_splits(data)
    new = mmmamba.new("vmamba_t", "classifier", data, "mine.py", batch=8, length=30)
    assert "Recipe: imagenet/vmamba_t_300e_imagenet, 30 epochs, 8 images a step" in str(new)
    assert "vssm1_tiny" in str(new)
    assert len(new.path.read_text().splitlines()) < 80
    cfg, base = Config.fromfile("mine.py"), Config.fromfile(classifiers()["vmamba_t"])
    for split in ("train", "val", "test"):
        loader, theirs = cfg[f"{split}_dataloader"], base[f"{split}_dataloader"]
        assert loader.dataset.pipeline == theirs.dataset.pipeline
        assert loader.dataset.type == "CustomDataset" and "ann_file" not in loader.dataset
        assert loader.dataset.metainfo.classes == ("blue", "green", "red")
    assert cfg.test_dataloader.dataset.data_prefix == "val"
    assert cfg.model.backbone.num_classes == cfg.model.data_preprocessor.num_classes == 3
    # Of three classes, five would always be right.
    assert cfg.model.head.topk == cfg.val_evaluator[0].topk == (1,)
    assert max(entry.end for entry in cfg.param_scheduler) == cfg.train_cfg.max_epochs == 30
    # The root of the ratio, as Adam's step does not grow with the gradient.
    lr, images = base.optim_wrapper.optimizer.lr, base.auto_scale_lr.base_batch_size
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr * (8 / images) ** 0.5, rel=0.05)
    average, stopping = cfg.custom_hooks
    assert average.type == "EMAHook" and average.momentum == 0.1
    assert stopping.monitor == "accuracy/top1"
    assert not cfg.get("expected")


def test_more_classes_than_five_have_a_top_5(data: Path) -> None:
    draw(data, 2, tuple("abcdef"))
    mmmamba.new("vmamba_t", "classifier", data, "mine.py", val_share=0.5)
    cfg = Config.fromfile("mine.py")
    assert cfg.model.head.topk == cfg.val_evaluator[0].topk == (1, 5)


def test_a_share_of_each_class_is_held_out(data: Path) -> None:
    draw(data, 8)
    draw(data, 2, ("red",), seed=1)
    new = mmmamba.new("mambar_s", "classifier", data, "mine.py", val_share=0.25)
    lists = {s: Path(f"mine_data/{s}.txt").read_text().splitlines() for s in ("train", "val")}
    assert len(lists["val"]) == 6 and len({*lists["train"], *lists["val"]}) == 24
    assert sorted(line[-1] for line in lists["val"]) == ["0", "0", "1", "1", "2", "2"]
    assert f"val: 6 images, listed in {Path('mine_data/val.txt').resolve()}" in new.said


@pytest.mark.parametrize(
    ("backbone", "recipe"),
    [
        ("mamba_yolo_t", "vmamba_t_300e_imagenet"),
        ("mobilemamba_b1", "mobilemamba_b1_300e_imagenet"),
        ("vim_s_stride8", "vim_s_300e_imagenet"),
        ("groupmamba_b", "groupmamba_t_300e_imagenet"),
    ],
)
def test_every_backbone_has_a_recipe(data: Path, backbone: str, recipe: str) -> None:
    """Its own, a sibling's or the reference."""
    draw_splits(data)
    assert f"Recipe: imagenet/{recipe}" in str(mmmamba.new(backbone, "classifier", data, "mine.py"))
    cfg = Config.fromfile("mine.py")
    arguments = cfg.model.backbone.to_dict()
    assert arguments["arch"] == backbone and arguments["classifier"]
    assert arguments["num_classes"] == 3


def test_a_validation_that_lacks_a_class_keeps_the_numbers(data: Path) -> None:
    draw_splits(data)
    shutil.rmtree(data / "val/blue")
    mmmamba.new("vmamba_t", "classifier", data, "mine.py")
    assert {line[-1] for line in Path("mine_data/val.txt").read_text().split("\n") if line} == {
        "1",
        "2",
    }


def test_published_weights_begin_with_other_logits() -> None:
    """The names that a classifier's number of classes shapes, in every family."""
    for family in MambaBackbone.families():
        shapes = []
        for classes in (3, 5):
            with torch.device("meta"):
                made = family(**family.TINY, classifier=True, num_classes=classes)
            shapes.append({name: x.shape for name, x in made.state_dict().items()})
        differ = {name for name in shapes[0] if shapes[0][name] != shapes[1][name]}
        matched = {name for name in shapes[0] if re.fullmatch(OTHER_LOGITS[0], name)}
        assert differ and differ == matched, family


def test_recipes_of_stages_and_students_are_no_bases() -> None:
    chosen = {
        name: path for name, path in classifiers().items() if name[:3] in ("vim", "gro", "mam")
    }
    assert {"vim_s", "groupmamba_t", "mambar_t", "mambavision_t"} <= set(chosen)
    for path in chosen.values():
        cfg = Config.fromfile(path)
        assert "teacher" not in cfg.model and "init_cfg" not in cfg.model.backbone, path
        assert not cfg.get("load_from"), path


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        (["train", "val"], "train has 4 images and no folders of classes: wanted a folder"),
        (["images", "labels"], "look like images and label maps.*--head upernet"),
        (["train/a", "val/a"], "one class, a; a classifier tells two or more apart"),
        (["train/a", "train/b"], "none for validation. --val-share 0.2"),
        (["train/a", "train/b", "val/a", "val/c"], "val has images of c, which training"),
        (["a"], "one class"),
    ],
)
def test_other_folders_are_refused(data: Path, folders: list[str], wanted: str) -> None:
    for folder in folders:
        draw(data / Path(folder).parent, 4, (Path(folder).name,))
    share = 0.5 if folders == ["a"] else None
    with pytest.raises(UsageError, match=wanted):
        mmmamba.new("vmamba_t", "classifier", data, "mine.py", val_share=share)


def test_what_is_no_folder_of_classes_names_the_head_for_it(data: Path) -> None:
    draw_splits(data)
    with pytest.raises(UsageError, match="folders of images, as of classes.*--head classifier"):
        mmmamba.new("vmamba_t", "rtmdet", data, "mine.py")
    (data / "val/red/empty").mkdir()
    (data / "train/white").mkdir()
    with pytest.raises(UsageError, match="no images to train on in white"):
        mmmamba.new("vmamba_t", "classifier", data, "mine.py")
    (data / "train/red/red_0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (data / "classes.txt").write_text("cell\n")
    with pytest.raises(UsageError, match="YOLO annotations of objects"):
        mmmamba.new("vmamba_t", "classifier", data, "mine.py")
