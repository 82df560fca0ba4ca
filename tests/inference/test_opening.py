"""A run's folder, its checkpoint, a config by path or name: each opens the model that is meant."""

from __future__ import annotations

import shutil

import pytest

from mmmamba.checkpoints import CheckpointError
from mmmamba.errors import UsageError
from mmmamba.inference import Predictor, opening
from mmmamba.inference.opening import find_files

from .colours import DETECTOR, write_run


def test_a_run_is_opened_by_its_folder_its_config_or_its_checkpoint(detector_run):
    config, checkpoint = detector_run / "colours.py", detector_run / "epoch_1.pth"
    for name in (detector_run, config, checkpoint):
        assert find_files(name) == (config, checkpoint)


def test_a_run_that_was_moved(detector_run, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(detector_run, moved)
    (moved / "last_checkpoint").write_text("/gone/epoch_1.pth")
    assert find_files(moved) == (moved / "colours.py", moved / "epoch_1.pth")


def test_a_checkpoint_is_chosen(detector_run, tmp_path):
    other = tmp_path / "other.pth"
    shutil.copy(detector_run / "epoch_1.pth", other)
    assert Predictor(detector_run, other).checkpoint == str(other)


@pytest.mark.parametrize(
    ("left_out", "complaint"),
    [("last_checkpoint", "no last_checkpoint"), ("colours.py", "found: none")],
)
def test_a_folder_that_is_no_finished_run(detector_run, tmp_path, left_out, complaint):
    folder = tmp_path / "run"
    shutil.copytree(detector_run, folder)
    (folder / left_out).unlink()
    with pytest.raises(UsageError, match=complaint):
        Predictor(folder)


def test_a_folder_of_two_runs(detector_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(detector_run, folder)
    shutil.copy(folder / "colours.py", folder / "others.py")
    with pytest.raises(UsageError, match="colours.py, others.py"):
        Predictor(folder)


def test_a_config_without_weights_is_no_model(tmp_path):
    (tmp_path / "mine.py").write_text(DETECTOR)
    with pytest.raises(UsageError, match="Name a file or URL with --checkpoint"):
        Predictor(tmp_path / "mine.py")


def test_published_weights_of_a_config_are_fetched(monkeypatch):
    """Their address is asked for; nothing here reaches the network."""
    asked = []

    def read(source):
        asked.append(source)
        raise CheckpointError("no network")

    monkeypatch.setattr(opening, "read_checkpoint", read)
    with pytest.raises(CheckpointError, match="no network"):
        Predictor("mask_rcnn/vmamba_t_1x_coco")
    assert asked[0].startswith("https://") and asked[0].endswith(
        "mask_rcnn_vssm_fpn_coco_tiny_s_epoch_12.pth"
    )
    with pytest.raises(UsageError, match="none are published"):
        Predictor("yolo/vmamba_t_yolox_36e_coco")


def test_a_name_that_is_nearly_right():
    with pytest.raises(UsageError, match="Did you mean 'mask_rcnn/vmamba_t_1x_coco'"):
        Predictor("mask_rcnn/vmamba_t_1x_cocoo")


def test_a_run_that_is_nearly_right(detector_run):
    with pytest.raises(UsageError, match="Did you mean the run '.*/detector'"):
        Predictor(detector_run.with_name("detectr"))


def test_classes_must_be_as_many_as_the_model_has(segmentor_run, tmp_path):
    text = (segmentor_run / "colours.py").read_text()
    run = write_run(tmp_path / "run", text, dataset_meta=dict(classes=("a", "b")))
    with pytest.raises(
        UsageError, match="tells 4 classes apart, the checkpoint or config names 2: a, b"
    ):
        Predictor(run)


def test_classes_without_names_are_numbered(segmentor_run, tmp_path, caplog):
    run = write_run(tmp_path / "run", (segmentor_run / "colours.py").read_text())
    classes = Predictor(run).classes
    assert (
        classes.names == ("class 0", "class 1", "class 2", "class 3")
        and len(set(classes.colours)) == 4
    )
    assert "shown by number" in caplog.text
