"""Res-VMamba computes what its authors computed, once its shortcuts stand still."""

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError

from . import harness, pyramids, recipe

CASES = {
    "res_vmamba/res_vmamba_tiny": ("res_vmamba_t", 1000, 23_281_864),
    "res_vmamba/res_vmamba_small": ("res_vmamba_s", 241, 44_222_161),
}
# What the maps do not tell is the shared head alone.
SLOW = tuple(CASES)


@pytest.mark.parametrize("case, variant", harness.cases(CASES, SLOW))
def test_classifier(case, variant):
    name, classes, parameters = variant
    case = recipe.load_case(f"{case}.json")
    model = mmmamba.create_backbone(name, classifier=True, num_classes=classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    pyramids.check_classifier(case, model)


def test_maps():
    case = recipe.load_case("res_vmamba/res_vmamba_tiny.json")
    pyramids.check_maps(case, mmmamba.create_backbone("res_vmamba_t"))


def theirs() -> dict[str, torch.Tensor]:
    """A file as the authors write it, of a small network: VMamba's names, and no shortcut."""
    model = mmmamba.models.backbones.ResVMamba(
        **mmmamba.models.backbones.ResVMamba.TINY, shortcut="none", classifier=True
    )
    return model.state_dict()


@pytest.mark.parametrize("shortcut", ["random", "none"])
def test_published_files_fit_what_has_no_weights_in_its_shortcuts(shortcut):
    family = mmmamba.models.backbones.ResVMamba
    given = family.TINY | dict(shortcut=shortcut, classifier=True)
    model, plain = (
        family(**given).eval(),
        mmmamba.models.backbones.VMamba(
            stem="patch",
            downsample="merging",
            gate=True,
            conv_bias=True,
            mlp_ratio=0.0,
            d_state=4,
            classifier=True,
            arch=dict(embed_dims=16, depths=(1, 1, 2, 1)),
        ).eval(),
    )
    model.load_weights({"model": theirs()})
    plain.load_weights({"model": model.state_dict()})
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        once, again, without = model(image), model(image), plain(image)
    assert torch.equal(once, again) == torch.equal(once, without) == (shortcut == "none")


def test_published_files_do_not_fit_shortcuts_that_learn():
    family = mmmamba.models.backbones.ResVMamba
    with pytest.raises(CheckpointError, match=r"6 of \d+ tensors are not in the file.*shortcut"):
        family(**family.TINY).load_weights({"model": theirs()})


def test_norms_are_the_originals():
    with torch.device("meta"):
        model = mmmamba.create_backbone("res_vmamba_t")
    assert all(m.eps == 1e-5 for m in model.modules() if isinstance(m, torch.nn.LayerNorm))
