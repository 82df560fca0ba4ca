"""EfficientVMamba computes what its authors computed."""

import re

import pytest
import torch

import mmmamba
from mmmamba.layers import channels_first

from . import harness, probes, recipe

CASES = {
    "efficientvmamba/efficientvmamba_tiny": "efficientvmamba_t",
    "efficientvmamba/efficientvmamba_small": "efficientvmamba_s",
    "efficientvmamba/efficientvmamba_base": "efficientvmamba_b",
}


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


def path_of(name: str) -> str:
    name = re.sub(r"^layers\.2\.\d+\.reduction", "layers.2.downsample.reduction", name)
    return re.sub(r"^layers\.2\.1$", "layers.2.blocks.0", name)


def layout(name: str, output: torch.Tensor) -> torch.Tensor:
    return channels_first(output) if name == "layers.2.1" else output


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_inner_modules(case, name):
    case = recipe.load_case(f"{case}.json")
    model = mmmamba.create_backbone(name, weights=harness.weights(case["state_dict"]))
    probes.check_probes(case, model, path_of, layout)


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_classifier_has_the_published_size(case, name):
    model = mmmamba.create_backbone(name, classifier=True)
    assert (
        sum(p.numel() for p in model.parameters())
        == recipe.load_case(f"{case}.json")["parameters_classifier"]
    )


def test_published_files_load_with_their_prefix_and_older_names():
    """`state_dict`, `module.module.` before names, and names that the authors rename on loading."""
    model = mmmamba.create_backbone("efficientvmamba_t")
    case = recipe.load_case("efficientvmamba/efficientvmamba_tiny.json")
    state = {
        name: value
        for name, value in harness.weights(case["state_dict"]).items()
        if "outnorm" not in name
    }
    state |= {
        "norm.weight": torch.ones(384),
        "norm.bias": torch.zeros(384),
        "head.weight": torch.ones(1000, 384),
        "head.bias": torch.zeros(1000),
    }
    old = {
        re.sub(r"^patch_embed\.0\.", "patch_embed.proj.", name): value
        for name, value in state.items()
    }
    old = {
        re.sub(r"(blocks\.\d)\.op\.", r"\1.self_attention.", name): value
        for name, value in old.items()
    }
    model.load_weights(
        {"state_dict": {f"module.module.{name}": value for name, value in old.items()}}
    )
    assert torch.equal(model.layers[1].blocks[0].op.Ds, state["layers.1.blocks.0.op.Ds"])
    assert torch.equal(model.layers[2].downsample.norm.weight, state["layers.2.6.norm.weight"])


def test_norms_and_activations_are_the_originals():
    """Differences too small for the figures: the epsilon of the norms and the form of GELU."""
    for module in mmmamba.create_backbone("efficientvmamba_t").modules():
        if isinstance(module, (torch.nn.LayerNorm, torch.nn.BatchNorm2d)):
            assert module.eps == 1e-5
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
