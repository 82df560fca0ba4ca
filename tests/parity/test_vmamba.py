"""VMamba computes what its authors computed."""

import pytest

import mmmamba

from . import harness, recipe

CASES = {
    "vmamba/vmamba_tiny_s1l8": "vmamba_t",
    "vmamba/vmamba_tiny_s2l5": "vmamba_t_s2l5",
    "vmamba/vmamba_small_s2l15": "vmamba_s",
    "vmamba/vmamba_base_s2l15": "vmamba_b",
    "vmamba/vmamba_small_s1l20": "vmamba_s_s1l20",
    "vmamba/vmamba_base_s1l20": "vmamba_b_s1l20",
    "vmamba/vanilla_vmamba_tiny": "vmamba_v0_t",
    "vmamba/vanilla_vmamba_small": "vmamba_v0_s",
    "vmamba/vanilla_vmamba_base": "vmamba_v0_b",
}
CLASSIFIER_PARAMETERS = {
    "vmamba_t": 30_249_064,
    "vmamba_t_s2l5": 30_705_832,
    "vmamba_s": 50_147_752,
    "vmamba_b": 88_557_800,
    "vmamba_s_s1l20": 49_012_840,
    "vmamba_b_s1l20": 86_614_504,
    "vmamba_v0_t": 22_893_448,
    "vmamba_v0_s": 44_417_416,
    "vmamba_v0_b": 76_254_056,
}


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]


def test_norms_and_activations_are_the_originals():
    """Differences too small for the figures: the epsilon of the norms and the form of GELU."""
    import torch

    for module in mmmamba.create_backbone("vmamba_t").modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert module.eps == 1e-5
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
