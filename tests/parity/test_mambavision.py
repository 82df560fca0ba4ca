"""MambaVision computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import harness, recipe

CASES = {
    "mambavision/mamba_vision_T": dict(name="mambavision_t"),
    "mambavision/mamba_vision_T2": dict(name="mambavision_t2"),
    "mambavision/mamba_vision_S": dict(name="mambavision_s"),
    "mambavision/mamba_vision_B": dict(name="mambavision_b"),
    "mambavision/mamba_vision_L": dict(name="mambavision_l"),
    "mambavision/mamba_vision_L2": dict(name="mambavision_l2"),
    "mambavision/mamba_vision_L2_512_21k": dict(name="mambavision_l2_512_21k"),
    "mambavision/mamba_vision_L3_256_21k": dict(name="mambavision_l3_256_21k"),
    "mambavision/mamba_vision_T_seg": dict(name="mambavision_t", window_size=(8, 8, 64, 32)),
    "mambavision/mamba_vision_B_seg": dict(name="mambavision_b", window_size=(8, 8, 64, 32)),
    "mambavision/mamba_vision_T_det": dict(name="mambavision_t", window_size=(8, 8, 112, 56)),
}
SLOW = ("mambavision/mamba_vision_T_det", "mambavision/mamba_vision_B_seg")
CLASSIFIERS = {case: given for case, given in CASES.items() if not case.endswith(("_seg", "_det"))}


@pytest.mark.parametrize("case, given", harness.cases(CASES, SLOW))
def test_maps(case, given):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(**given))


@pytest.mark.parametrize("case, given", harness.cases(CLASSIFIERS, SLOW))
def test_logits(case, given):
    harness.check_logits(
        recipe.load_case(f"{case}.json"), lambda **more: mmmamba.create_backbone(**given, **more)
    )


def test_norms_and_activations_are_the_originals():
    """Differences too small for the figures: the epsilons of the norms and the forms of GELU."""
    model = mmmamba.create_backbone("mambavision_t")
    assert all(
        m.eps == 1e-4 for m in model.patch_embed.modules() if isinstance(m, torch.nn.BatchNorm2d)
    )
    for stage in model.levels:
        for module in stage.modules():
            if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)):
                assert module.eps == 1e-5
    assert model.levels[0].blocks[0].act1.approximate == "tanh"
    assert model.levels[2].blocks[0].mlp.fc2.act.approximate == "none"
