"""From a folder of classes to a trained, resumed and tested classifier."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mmpretrain")

from mmengine.config import Config

import mmmamba
from mmmamba.commands import main
from mmmamba.engine.testing import leave_out_averages
from mmmamba.errors import UsageError

from ..engine.reliability.test_resume import compare
from .core_data import CLASSES, SHORT, TINY, draw_splits


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config that `mmmamba new` wrote, with a small network."""
    monkeypatch.chdir(tmp_path)
    draw_splits(tmp_path / "data")
    mmmamba.new("vmamba_t", "classifier", "data", "mine.py", length=40)
    Path("tiny.py").write_text(TINY)
    return Path("tiny.py")


def test_a_folder_of_classes_to_an_accuracy(tiny: Path, capsys: pytest.CaptureFixture) -> None:
    few = ["--epochs", "2", "--batch", "6", "--lr", "3e-3", "--name", "run"]
    assert main(["train", str(tiny), *few, *SHORT]) == 0
    run, printed = Path("work_dirs/run"), capsys.readouterr().out
    assert "balanced accuracy" in printed
    assert {path.name for path in (run / "pictures").iterdir()} == {
        "batch_0.jpg",
        "confusion.png",
        "curves.png",
        "val_epoch_1.jpg",
        "val_epoch_2.jpg",
    }
    header, *rows = (run / "results.csv").read_text().splitlines()
    assert "accuracy/top1,single-label/precision" in header and len(rows) == 2
    # The augmentation, the schedule and the average of weights are the recipe's.
    cfg = Config.fromfile(run / "resolved_config.py")
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline][:2] == [
        "LoadImageFromFile",
        "RandomResizedCrop",
    ]
    assert cfg.train_dataloader.dataset.pipeline[1].scale == 32
    assert cfg.test_dataloader.dataset.pipeline[2].crop_size == 32
    assert cfg.custom_hooks[0].type == "EMAHook" and cfg.custom_hooks[0].momentum > 1e-3

    tested = mmmamba.test(
        run, out="scores.pkl", show_dir="shown", device="cpu", precision="float32"
    )
    assert tested.metrics["accuracy/top1"] == float(rows[-1].split(",")[-4])
    by_class = tested.metrics["class_accuracy"]
    assert list(by_class) == list(CLASSES)
    # Where all classes have as many images, this is the accuracy, and always the macro recall.
    assert tested.metrics["single-label/recall"] == pytest.approx(sum(by_class.values()) / 3)
    assert len(list(Path("shown").iterdir())) == 6 and Path("scores.pkl").is_file()


def test_what_was_stopped_goes_on(tiny: Path, tmp_path: Path) -> None:
    cfg = Config.fromfile(tiny)
    cfg.merge_from_dict(
        {
            "work_dir": str(tmp_path / "runs/run"),
            "train_dataloader.batch_size": 2,
            "train_dataloader.dataset.indices": 10,
            "train_dataloader.num_workers": 0,
            "train_dataloader.persistent_workers": False,
            "val_dataloader.num_workers": 0,
            "val_dataloader.persistent_workers": False,
        }
    )
    cfg.custom_hooks.append(dict(type="Witness"))
    compare(cfg, 7, options=("--epochs", "2", "--imgsz", "32", "--no-pictures"))


def test_a_network_of_mmpretrain_itself(tiny: Path) -> None:
    Path("resnet.py").write_text(
        '_base_ = "./tiny.py"\n'
        "model = dict(\n"
        '    backbone=dict(_delete_=True, type="ResNet", depth=18, stem_channels=4, '
        "base_channels=4),\n"
        '    neck=dict(type="GlobalAveragePooling"),\n'
        '    head=dict(_delete_=True, type="LinearClsHead", num_classes=3, in_channels=32),\n'
        ")\n"
    )
    run = mmmamba.train("resnet.py", epochs=1, imgsz=32, workers=0, device="cpu", pictures=False)
    # Batch norms are folded although weights were averaged.
    tested = mmmamba.test(run, device="cpu", precision="float32", fuse=True)
    assert {name: tested.metrics[name] for name in run.metrics} == run.metrics


def test_tests_average_no_weights() -> None:
    """Checkpoints hold the averages; mmpretrain's hook would look for its own by other names."""
    averages = [dict(type="EMAHook"), dict(type="mmpretrain.EMAHook", momentum=1e-4)]
    both = [dict(type="EMAHook", evaluate_on_origin=True)]
    cfg = Config(dict(custom_hooks=[*averages, dict(type="MESAHook"), *both]))
    leave_out_averages(cfg)
    assert [hook.type for hook in cfg.custom_hooks] == ["MESAHook", "EMAHook"]


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("model.backbone.num_classes=2", "model.backbone.num_classes is 2, .* has 3 classes"),
        ("model.data_preprocessor.num_classes=4", "data_preprocessor.num_classes is 4"),
        ("train_dataloader.dataset.metainfo.classes=red,green,blue", "another order|other folders"),
        ("train_dataloader.dataset.metainfo.classes=a,b", "3 folders, 2 classes"),
        ("train_dataloader.dataset.data_prefix=nothing", "the data set is not there"),
    ],
)
def test_what_does_not_go_together_is_told_first(tiny: Path, option: str, wanted: str) -> None:
    key, _, value = option.partition("=")
    values: object = value.split(",") if "," in value else value
    values = int(value) if value.isdigit() else values
    with pytest.raises(UsageError, match=wanted):
        mmmamba.train(tiny, cfg_options={key: values}, device="cpu")


def test_a_data_set_that_is_not_there_is_told_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"(?s)data/imagenet/train.*ln -s /path/to/it data/imagenet"
    ):
        mmmamba.train(
            "vmamba_t_300e_imagenet",
            cfg_options={"optim_wrapper.type": "OptimWrapper"},
            device="cpu",
        )


def test_labels_beyond_the_classes_are_told_first(tiny: Path) -> None:
    Path("list.txt").write_text("blue/blue_0.png 0\nred/red_0.png 3\n")
    options = {"train_dataloader.dataset.ann_file": str(Path("list.txt").resolve())}
    with pytest.raises(UsageError, match=r"red_0.png: 3, wanted 0 … 2"):
        mmmamba.train(tiny, cfg_options=options, device="cpu")
    Path("list.txt").write_text("blue/blue_0.png 0\nred/red_0.png\n")
    with pytest.raises(UsageError, match=r"line 2: 'red/red_0.png'"):
        mmmamba.train(tiny, cfg_options=options, device="cpu")


def test_maps_are_no_logits(tiny: Path) -> None:
    with pytest.raises(UsageError, match="classifier=True"):
        mmmamba.train(tiny, cfg_options={"model.backbone.classifier": False}, device="cpu")


def test_without_mmpretrain_one_line_says_so(tiny: Path, monkeypatch) -> None:
    import mmmamba.config.modules as modules

    monkeypatch.setattr(modules, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'mmmamba\[pretrain\]'"):
        mmmamba.new("vmamba_t", "classifier", "data", "other.py")
