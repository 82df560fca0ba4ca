"""A config is found, read and given its options in one place; it is written in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmmamba.config.open import check_config, open_config
from mmmamba.engine.reliability import refuse_unpickling
from mmmamba.errors import UsageError

NAME = "mask_rcnn/vmamba_t_1x_coco"


def test_options_replace_what_the_config_and_its_adaptation_say() -> None:
    def adapt(cfg) -> None:
        cfg.model.neck.num_outs = 7
        cfg.model.neck.out_channels = 128

    cfg = open_config(NAME, {"model.neck.num_outs": 6}, adapt)
    assert cfg.model.neck.num_outs == 6 and cfg.model.neck.out_channels == 128
    assert Path(cfg.filename).stem == "vmamba_t_1x_coco"


def test_an_option_that_leads_nowhere() -> None:
    with pytest.raises(UsageError, match="'num_out'.*Did you mean 'num_outs'"):
        open_config(NAME, {"model.neck.num_out": 6})


def test_keys_and_numbers_are_checked() -> None:
    cfg = open_config(NAME, {"train_cfg.max_epochs": "ten"})
    with pytest.raises(UsageError, match="max_epochs is 'ten'.*set in --cfg-options"):
        check_config(cfg, ["train_cfg.max_epochs"])
    cfg.model.neck.num_out = 6
    with pytest.raises(UsageError, match="FPN has no 'num_out'"):
        check_config(cfg)


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json", "txt"])
def test_only_python_is_read(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"base.{suffix}").write_text("{}\n")
    with pytest.raises(UsageError, match=rf"base.{suffix} is no config: wanted a .py file"):
        open_config(tmp_path / f"base.{suffix}")
    (tmp_path / "between.py").write_text(f"_base_ = ['./base.{suffix}']\n")
    (tmp_path / "mine.py").write_text("_base_ = './between.py'\n")
    with pytest.raises(UsageError) as error:
        open_config(tmp_path / "mine.py")
    message = str(error.value)
    assert f"base.{suffix}, a base of {tmp_path / 'between.py'}, is no config" in message
    assert len(message.splitlines()) == 1


def test_a_base_of_mmdet_is_found(tmp_path: Path) -> None:
    """MMEngine looks it up in YAML that comes with mmdet, after our strict readers are in place."""
    refuse_unpickling()
    file = tmp_path / "mine.py"
    file.write_text("_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n")
    assert open_config(file).model.type == "RetinaNet"
