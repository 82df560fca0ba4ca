"""Anything but a clean match is an error that says what is wrong, and loads nothing."""

import copy

import pytest
import torch

from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.models.backbones import VMamba

from .files import BUILDERS, another, holds, published_file


def test_classifier_refuses_a_file_without_one(build):
    with pytest.raises(CheckpointError, match="head"):
        load_weights(build(classifier=True), build().state_dict())


def test_detector_file_must_have_its_output_norms(vmamba):
    file = {
        f"backbone.{n}": t
        for n, t in another(vmamba.state_dict()).items()
        if not n.startswith("outnorm")
    }
    file["neck.w"] = torch.ones(1)
    with pytest.raises(CheckpointError, match="8 of .* not in the file: outnorm0.weight"):
        load_weights(vmamba, {"state_dict": file})
    with pytest.raises(CheckpointError, match="outnorm0.weight"):
        load_weights(vmamba, {"state_dict": file}, prefix="backbone.")
    load_weights(vmamba, {"state_dict": file}, allow_missing=[r"outnorm\d\..*"])


def test_some_output_norms_are_as_wrong_as_a_hole(vmamba):
    theirs = {n: t for n, t in another(vmamba.state_dict()).items() if not n.startswith("outnorm2")}
    with pytest.raises(CheckpointError, match="2 of .*outnorm2"):
        load_weights(vmamba, theirs)


def wrong_files(vmamba):
    good = another(vmamba.state_dict())
    first = "layers.0.blocks.0.op.in_proj.weight"
    wider = VMamba(arch=dict(embed_dims=32, depths=(1, 1, 2, 1)))
    deeper = VMamba(arch=dict(embed_dims=16, depths=(1, 1, 3, 1)))
    return {
        "hole": (
            {n: t for n, t in good.items() if n != first},
            "1 of .* not in the file: " + first,
        ),
        "surplus": (
            good | {"extra.weight": torch.ones(1)},
            "1 tensors of the file have no place: extra.weight",
        ),
        "shape": (
            good | {first: torch.ones(3, 3)},
            r"in_proj.weight \(3, 3\) in the file, \(.*\) here",
        ),
        "nan": (
            good | {first: torch.full_like(good[first], torch.nan)},
            "NaN or infinity: " + first,
        ),
        "wider": (
            wider.state_dict(),
            r"The file is a .*blocks 1, 1, 2, 1; widths 32.*; this module .* widths 16",
        ),
        "deeper": (
            deeper.state_dict(),
            r"The file is a .*blocks 1, 1, 3, 1.*; this module is a .*blocks 1, 1, 2, 1",
        ),
        "family": (
            BUILDERS["mambavision"]().state_dict(),
            "looks like one of MambaVision, not of VMamba",
        ),
        "unknown": ({"a.b": torch.ones(1)}, "of no family known here"),
        "twice": (
            good | {"patch_embed.proj.weight": torch.ones(1)},
            "both become 'patch_embed.0.weight'",
        ),
    }


@pytest.mark.parametrize(
    "kind", ["hole", "surplus", "shape", "nan", "wider", "deeper", "family", "unknown", "twice"]
)
def test_nothing_is_loaded_from_a_file_that_does_not_fit(vmamba, kind):
    file, message = wrong_files(vmamba)[kind]
    before = copy.deepcopy(vmamba.state_dict())
    with pytest.raises(CheckpointError, match=message):
        load_weights(vmamba, file)
    assert holds(vmamba, before)


def test_a_close_relative_is_told_apart():
    backbone = BUILDERS["vmamba_v0"]()
    file = another(backbone.state_dict()) | {
        "layers.0.blocks.0.op.multi_scan.attn.norm.weight": torch.ones(4)
    }
    with pytest.raises(CheckpointError, match="looks like one of LocalVMamba, not of VMamba"):
        load_weights(backbone, file)


def test_nothing_that_is_a_state_dict(vmamba):
    with pytest.raises(
        CheckpointError, match=r"no state dict in it.*epoch \(int\), optimizer \(dict\)"
    ):
        load_weights(vmamba, {"epoch": 1, "optimizer": {}})
    with pytest.raises(CheckpointError, match="no weights under key='ema'"):
        load_weights(vmamba, {"model": vmamba.state_dict()}, key="ema")
    with pytest.raises(CheckpointError, match="prefix='student.'; there are backbone., neck."):
        load_weights(
            vmamba, {"backbone.w": torch.ones(1), "neck.w": torch.ones(1)}, prefix="student."
        )


def test_meta_module_is_refused():
    with torch.device("meta"):
        backbone = BUILDERS["vmamba"]()
    with pytest.raises(CheckpointError, match="meta device"):
        load_weights(backbone, published_file(BUILDERS["vmamba"]))


def test_another_shape_that_is_allowed_is_left_out_and_told(vmamba):
    name = "outnorm3.weight"
    theirs = another(vmamba.state_dict())
    before = vmamba.state_dict()[name].clone()
    theirs[name] = torch.ones(1)
    with pytest.raises(CheckpointError, match="1 tensors have another shape"):
        load_weights(vmamba, theirs)
    report = load_weights(vmamba, theirs, allow_mismatched=[name])
    assert list(report.mismatched) == [name] and torch.equal(vmamba.state_dict()[name], before)
    assert holds(vmamba, {key: tensor for key, tensor in theirs.items() if key != name})
