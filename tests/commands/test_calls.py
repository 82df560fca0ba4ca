"""`mmmamba.train`, `mmmamba.test` and `mmmamba.new`, called from Python.

What they do is tested through the commands, which call them, and by `docs/python.md`.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

import mmmamba
from mmmamba.datasets.shapes import ShapesSpec, make_shapes
from mmmamba.engine import runs
from mmmamba.errors import UsageError


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_shapes("shapes", ShapesSpec(num_train=4, num_val=2, size=64))
    return Path("shapes")


def test_names_are_listed_before_they_are_loaded() -> None:
    assert {"train", "test", "new", "export", "Predictor"} <= set(dir(mmmamba))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        mmmamba.trian  # noqa: B018


@pytest.mark.parametrize("name", ["train", "test"])
def test_help_lists_what_is_taken(name: str) -> None:
    listed = set(inspect.signature(getattr(mmmamba, name)).parameters)
    behind = set(inspect.signature(getattr(runs, name)).parameters) - {"cfg"}
    assert ("epochs" in listed) == (name == "train")
    assert behind <= listed and {"cfg_options", "work_dir", "demo"} <= listed
    assert "keywords" not in listed and "options" not in listed


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (dict(config="mine.py", resum="auto"), "takes no 'resum'. Did you mean 'resume'"),
        (dict(), "name a config, or backbone, head and data"),
        (dict(backbone="vmamba_t", head="rtmdet"), "for data="),
        (dict(data="shapes", backbone="vmamba_t"), 'head="rtmdet"'),
        (dict(data="shapes", config="x.py", head="rtmdet"), "Leave one or the other out"),
        (dict(data="shapes", config="own.py"), "own.py is none"),
        (dict(data="shape", backbone="vmamba_t", head="rtmdet"), "there is no folder"),
        (dict(data="shapes", backbone="vmamba_t", head="rtmdte"), "Did you mean 'rtmdet'"),
    ],
)
def test_what_does_not_go_together(shapes: Path, settings: dict[str, Any], complaint: str) -> None:
    Path("own.py").write_text("model = dict()")
    with pytest.raises(UsageError, match=complaint):
        mmmamba.train(**settings)
    assert not Path("work_dirs").exists()


@pytest.mark.parametrize(
    "named",
    [dict(backbone="vmamba_t", head="rtmdet"), dict(config="yolo/vmamba_t_rtmdet_36e_coco")],
)
def test_data_without_a_config_of_its_own(shapes: Path, named: dict[str, str]) -> None:
    # Before anything is built or fetched.
    with pytest.raises(UsageError, match="nowhere.pth"):
        mmmamba.train(data=shapes, resume="nowhere.pth", **named)
    cfg = Config.fromfile("work_dirs/shapes_vmamba_t_rtmdet/shapes_vmamba_t_rtmdet.py")
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.train_dataloader.dataset.data_root == f"{shapes.resolve()}/"


def test_a_new_config_stands_for_its_file(shapes: Path) -> None:
    config = mmmamba.new("vmamba_t", "rtmdet", shapes, batch=2)
    assert os.fspath(config) == "shapes_vmamba_t_rtmdet.py" and "classes (3)" in str(config)
    assert "--batch-size 2" in config.path.read_text()
    with pytest.raises(UsageError, match="is there already"):
        mmmamba.new("vmamba_t", "rtmdet", shapes)
    for wrong in (dict(batch=0), dict(val_share=1.5)):
        with pytest.raises(UsageError, match="wanted"):
            mmmamba.new("vmamba_t", "rtmdet", shapes, force=True, **wrong)


def test_a_test_wants_a_checkpoint(shapes: Path) -> None:
    with pytest.raises(UsageError, match="name a checkpoint to test"):
        mmmamba.test("mask_rcnn/vmamba_t_1x_coco")
    with pytest.raises(UsageError, match="no run has saved a checkpoint there"):
        mmmamba.test(shapes)
