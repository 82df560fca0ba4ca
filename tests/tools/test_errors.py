"""What a user gets wrong is one message with the cure, before any model is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from mmmamba.commands import main

from .conftest import CONFIG

Complaint = Callable[..., str]


@pytest.fixture(autouse=True)
def no_model_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building anything from the registry of models fails the test."""

    def build(*args: object, **kwargs: object) -> None:
        pytest.fail("a model was built before the mistake was found")

    monkeypatch.setattr(MODELS, "build", build)


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put_coco(folder: Path) -> None:
    """Everything that is looked for, with nothing in it."""
    for split in ("train2017", "val2017"):
        (folder / "data/coco" / split).mkdir(parents=True)
        (folder / "data/coco/annotations" / f"instances_{split}.json").mkdir(parents=True)


def test_config_that_is_not_there(complaint: Complaint) -> None:
    message = complaint("train", CONFIG.with_name("vmamba_t_1x_cocoo.py"))
    assert "vmamba_t_1x_coco.py'" in message and "Did you mean" in message


def test_config_with_a_broken_base(complaint: Complaint, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text('_base_ = "./nowhere.py"\n')
    assert "nowhere.py" in complaint("train", tmp_path / "broken.py")


def test_missing_data_set_names_every_path_and_the_demo(complaint: Complaint) -> None:
    message = complaint("train", CONFIG)
    for path in (
        "annotations/instances_train2017.json",
        "train2017",
        "annotations/instances_val2017.json",
        "val2017",
    ):
        assert f"data/coco/{path}" in message
    assert "--demo" in message and "ln -s" in message and "data_root" in message


def test_data_that_is_there_is_not_complained_about(complaint: Complaint, tmp_path: Path) -> None:
    for folder in ("annotations", "train2017", "val2017"):
        (tmp_path / "data/coco" / folder).mkdir(parents=True)
    (tmp_path / "data/coco/annotations/instances_train2017.json").write_text("{}")
    message = complaint("train", CONFIG)
    assert "instances_val2017.json" in message
    assert "instances_train2017.json" not in message and "data/coco/train2017" not in message


def test_missing_checkpoints(complaint: Complaint, tmp_path: Path) -> None:
    put_coco(tmp_path)
    (tmp_path / "epoch_12.pth").write_bytes(b"")
    message = complaint("test", CONFIG, "epoch_21.pth")
    assert "epoch_21.pth" in message and "Did you mean 'epoch_12.pth'" in message
    message = complaint("train", CONFIG, "--resume", "epoch_21.pth")
    assert "epoch_21.pth" in message
    message = complaint(
        "train", CONFIG, "--cfg-options", "model.backbone.init_cfg.checkpoint=vmamba.pth"
    )
    assert "vmamba.pth" in message and "model.backbone.init_cfg" in message
    assert "name a checkpoint" in complaint("test", CONFIG)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("model.bakbone.arch=vmamba_s", "'backbone'"),
        ("model.backbone.drop_path=0.1", "'drop_path_rate'"),
        ("train_cfg.max_epoch=3", "'max_epochs'"),
        ("trian_cfg.max_epochs=3", "'train_cfg'"),
        ("optim_wrapper.optimizer.weight_deca=0.1", "'weight_decay'"),
        ("train_dataloader.bach_size=1", "'batch_size'"),
        ("train_dataloader.dataset.indexes=4", "'indices'"),
        ("default_hooks.checkpoint.max_keep_ckpt=1", "'max_keep_ckpts'"),
        ("model.neck.in_channels.7=3", "list of 4"),
        ("model.type.name=3", "'NoCopyMaskRCNN'"),
    ],
)
def test_mistyped_options(complaint: Complaint, option: str, hint: str) -> None:
    message = complaint("train", CONFIG, "--cfg-options", option)
    assert option.split("=")[0] in message and hint in message


@pytest.mark.parametrize(
    "option",
    [
        "model.backbone.with_cp=True",
        "optim_wrapper.accumulative_counts=4",
        "optim_wrapper.paramwise_cfg.custom_keys.stem=1",
        "train_dataloader.dataset.indices=10",
        "randomness.seed=3",
        "param_scheduler.1.gamma=0.2",
        "env_cfg.dist_cfg.backend=gloo",
        "sync_bn=torch",
        "find_unused_parameters=True",
        "model.test_cfg.rcnn.score_thr=0.3",
    ],
)
def test_options_that_are_fine_reach_the_next_check(complaint: Complaint, option: str) -> None:
    assert "the data set is not there" in complaint("train", CONFIG, "--cfg-options", option)


def test_missing_sections(complaint: Complaint, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(
        "default_scope = 'mmdet'\nmodel = dict(type='MaskRCNN')\ntrain_config = dict()\n"
    )
    message = complaint("train", tmp_path / "bare.py")
    assert (
        "train_dataloader" in message
        and "optim_wrapper" in message
        and "Did you mean 'train_config'" in message
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="mixed precision works here")
def test_mixed_precision_without_a_gpu(complaint: Complaint, tmp_path: Path) -> None:
    put_coco(tmp_path)
    message = complaint("train", CONFIG, "--amp")
    assert "needs a GPU" in message and "optim_wrapper.type=OptimWrapper" in message


def test_scaling_a_learning_rate_of_unknown_batch_size(complaint: Complaint) -> None:
    message = complaint("train", CONFIG, "--auto-scale-lr", "--cfg-options", "auto_scale_lr=None")
    assert "base_batch_size" in message


def test_demo_of_another_library(complaint: Complaint, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("default_scope = 'mmrotate'\n")
    assert "'mmrotate'" in complaint("train", tmp_path / "other.py", "--demo")


def test_predictions_need_a_pickle(complaint: Complaint, tiny_config: Path) -> None:
    (tiny_config.parent / "last.pth").write_bytes(b"")
    message = complaint("test", tiny_config, "last.pth", "--demo", "--out", "predictions.json")
    assert ".pkl" in message


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("param_scheduler.MultiStepL.gamma=0.2", "Did you mean 'MultiStepLR'"),
        ("train_dataloader.dataset.pipeline.4.Flip.prob=1", "has no 'Flip'"),
        ("custom_hooks.EarlyStoppingHook.patience=5", "--patience N adds"),
    ],
)
def test_entries_of_lists_by_type(complaint: Complaint, option: str, hint: str) -> None:
    assert hint in complaint("train", CONFIG, "--cfg-options", option)
    fine = "train_dataloader.dataset.pipeline.RandomFlip.prob=1"
    assert "the data set is not there" in complaint("train", CONFIG, "--cfg-options", fine)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("train data=coco8.yaml model=yolo.pt epochs=3", "mmmamba train CONFIG --epochs 3."),
        (f"train {CONFIG} --device 0,1", "torchrun --nproc-per-node=2"),
        (f"train {CONFIG} --device gpu", "wanted cpu, cuda or"),
        (f"train {CONFIG} --name ../mine", "below work_dirs"),
        (f"train {CONFIG} --name mine --work-dir other", "name one"),
        (f"train {CONFIG} --imgsz big", "wanted a side"),
        (f"train {CONFIG} --epochs 3", "the data set is not there"),
    ],
)
def test_flags(complaint: Complaint, words: str, hint: str) -> None:
    assert hint in complaint(*words.split())


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("val x", "'test'"),
        ("predict x", "'infer'"),
        ("train x --epoch 3", "'--epochs'"),
        ("train x --img_size 640", "'--imgsz'"),
        ("train x --batch-size 4", "'--batch'"),
        ("new --backbone a --head b --data c --batch 4", "'--batch-size'"),
        ("infer x --source y", "Images come behind the model"),
        ("train x --seed 1", "randomness.seed"),
    ],
)
def test_words_of_neighbours(capsys: pytest.CaptureFixture, words: str, hint: str) -> None:
    with pytest.raises(SystemExit):
        main(words.split())
    assert hint in capsys.readouterr().err
