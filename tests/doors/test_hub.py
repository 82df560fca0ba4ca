"""Folders of Hugging Face's Hub, written and read without a network."""

import json
from pathlib import Path

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError
from mmmamba.errors import UsageError

pytest.importorskip("huggingface_hub")
from mmmamba.hub import FILE, Backbone

SMALL = dict(embed_dims=16, depths=(1, 1, 1, 1), out_indices=(1, 2, 3))
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Backbone, Path]:
    backbone = Backbone("vmamba_t", **SMALL).eval()
    backbone.save_pretrained(tmp_path / "mine")
    return backbone, tmp_path / "mine"


@torch.no_grad()
def test_a_folder_gives_the_backbone_back(saved):
    backbone, folder = saved
    again = Backbone.from_pretrained(folder)
    assert again.out_strides == [8, 16, 32] and not again.training
    for got, want in zip(again(IMAGE), backbone(IMAGE), strict=True):
        assert torch.equal(got, want)
    assert json.loads((folder / "config.json").read_text()) == {
        "name": "vmamba_t",
        **{key: list(value) if isinstance(value, tuple) else value for key, value in SMALL.items()},
    }


@torch.no_grad()
def test_our_own_loader_reads_its_file(saved):
    backbone, folder = saved
    plain = mmmamba.create_backbone("vmamba_t", folder / FILE, **SMALL).eval()
    for got, want in zip(plain(IMAGE), backbone(IMAGE), strict=True):
        assert torch.equal(got, want)


def test_a_classifier_comes_back_too(tmp_path):
    arguments = dict(embed_dims=16, depths=(1, 1, 1, 1), classifier=True, num_classes=3)
    Backbone("vmamba_t", **arguments).save_pretrained(tmp_path)
    assert Backbone.from_pretrained(tmp_path)(IMAGE).shape == (1, 3)


def test_weights_that_do_not_fit_are_refused(saved):
    _, folder = saved
    with pytest.raises(CheckpointError, match="does not fit"):
        Backbone.from_pretrained(folder, depths=(1, 1, 2, 1))


def test_what_cannot_be_kept_is_refused(saved, tmp_path):
    _, folder = saved
    with pytest.raises(UsageError, match="load_weights"):
        Backbone("vmamba_t", weights=str(folder / FILE), **SMALL)
    arch = mmmamba.models.backbones.VMamba.ARCHS["vmamba_t"]
    with pytest.raises(UsageError, match="cannot keep the arguments of vmamba_t"):
        Backbone("vmamba_t", routes=arch)
    (tmp_path / "config.json").write_text('{"model_type": "another"}')
    with pytest.raises(UsageError, match="no config.json that says the name"):
        Backbone.from_pretrained(tmp_path)
