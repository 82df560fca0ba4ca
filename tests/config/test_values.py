"""Texts in the place of numbers are found before anything is built; configs that are fine pass."""

from __future__ import annotations

from pathlib import Path

import mmdet
import mmseg
import pytest
from mmengine.config import Config

from mmmamba.commands import main
from mmmamba.config.find import find_config, list_configs
from mmmamba.config.values import check_values, unfit_values
from mmmamba.errors import UsageError

from .test_keys import OF_MMDET, OF_MMSEG

MASK_RCNN = find_config("mask_rcnn/vmamba_t_1x_coco")
MISTAKES = {
    "train_cfg = dict(max_epochs='text')": (
        "train_cfg.max_epochs is 'text', ResumableEpochLoop wants a whole number"
    ),
    "train_cfg = dict(max_epochs=1.5)": (
        "train_cfg.max_epochs is 1.5, ResumableEpochLoop wants a whole number"
    ),
    "optim_wrapper = dict(optimizer=dict(lr='1e-4'))": (
        "optim_wrapper.optimizer.lr is '1e-4', AdamW wants a number"
    ),
    "model = dict(neck=dict(num_outs='5'))": (
        "model.neck.num_outs is '5', FPN wants a whole number"
    ),
    "default_hooks = dict(logger=dict(interval='often'))": (
        "default_hooks.logger.interval is 'often', LoggerHook wants a whole number"
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(f"_base_ = {str(MASK_RCNN)!r}\n{text}\n")
    with pytest.raises(UsageError) as error:
        check_values(Config.fromfile(tmp_path / "mine.py"))
    assert str(error.value) == f"{MISTAKES[text]} (set in mine.py:2)"


def test_from_the_command_line(capsys: pytest.CaptureFixture) -> None:
    for command in ("train", "config"):
        assert main([command, str(MASK_RCNN), "--cfg-options", "train_cfg.max_epochs=text"]) == 2
        message = capsys.readouterr().err
        assert (
            message.startswith("error: train_cfg.max_epochs is 'text'")
            and "set in --cfg-options" in message
        )


def test_all_configs_pass() -> None:
    assert not {
        path: wrong
        for path in list_configs()[::4]
        if (wrong := [*unfit_values(Config.fromfile(path))])
    }


@pytest.mark.parametrize("config", OF_MMDET + OF_MMSEG)
def test_configs_of_openmmlab_pass(config: str) -> None:
    package = mmseg if config in OF_MMSEG else mmdet
    assert [
        *unfit_values(Config.fromfile(Path(package.__file__).parent / ".mim" / "configs" / config))
    ] == []


def test_values_that_nobody_describes_are_left_alone() -> None:
    cfg = Config(
        dict(
            model=dict(type="Nobody", width="text"), train_cfg=dict(type=dict(), max_epochs="text")
        )
    )
    assert [*unfit_values(cfg)] == []
