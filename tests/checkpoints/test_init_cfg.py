"""`init_cfg=dict(type='Pretrained', ...)` goes through the strict loader."""

import pytest
import torch
from mmengine.model import PretrainedInit

from mmmamba.checkpoints import CheckpointError, is_pretrained, load_init_cfg

from .files import another, holds, published_file


def test_init_cfg(vmamba, tmp_path):
    theirs = another(vmamba.state_dict())
    path = tmp_path / "detector.pth"
    torch.save(
        {"state_dict": {f"backbone.{n}": t for n, t in theirs.items()} | {"neck.w": torch.ones(1)}},
        path,
    )
    cfg = dict(type="Pretrained", checkpoint=str(path), prefix="backbone.")
    assert (
        is_pretrained(cfg) and not is_pretrained(None) and not is_pretrained(dict(type="Kaiming"))
    )
    assert is_pretrained(dict(type=PretrainedInit, checkpoint="x"))
    load_init_cfg(vmamba, cfg)
    assert holds(vmamba, theirs)
    assert not is_pretrained([dict(type="Kaiming"), dict(type="Constant")])
    with pytest.raises(CheckpointError, match="a list with 'Pretrained' in it"):
        is_pretrained([dict(type="Kaiming"), cfg])
    with pytest.raises(CheckpointError, match="unknown entry 'prefx'.*Did you mean 'prefix'"):
        load_init_cfg(vmamba, dict(type="Pretrained", checkpoint=str(path), prefx="backbone."))
    with pytest.raises(CheckpointError, match="names no checkpoint"):
        load_init_cfg(vmamba, dict(type="Pretrained", checkpoint=""))


def test_init_weights_of_a_backbone_goes_through_the_loader(build, tmp_path):
    theirs, path = published_file(build), tmp_path / "file.pth"
    torch.save({"model": theirs}, path)
    backbone = build(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    backbone.init_weights()
    assert holds(backbone, {n: t for n, t in theirs.items() if n in backbone.state_dict()})
    torch.save({"model": {n: t for n, t in theirs.items() if "blocks.0" not in n}}, path)
    with pytest.raises(CheckpointError):
        build(init_cfg=dict(type="Pretrained", checkpoint=str(path))).init_weights()
