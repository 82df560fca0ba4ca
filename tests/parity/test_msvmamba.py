"""MSVMamba computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import harness, recipe

CASES = {
    "msvmamba/msvmamba_nano": "msvmamba_n",
    "msvmamba/msvmamba_micro": "msvmamba_m",
    "msvmamba/msvmamba_tiny": "msvmamba_t",
    "msvmamba/msvmambav3_tiny": "msvmamba_v3_t",
    "msvmamba/msvmambav3_small": "msvmamba_v3_s",
    "msvmamba/msvmambav3_base": "msvmamba_v3_b",
}
SLOW = ("msvmamba/msvmambav3_small", "msvmamba/msvmambav3_base")
CLASSIFIER_PARAMETERS = {
    "msvmamba_n": 6_864_136,
    "msvmamba_m": 11_879_272,
    "msvmamba_t": 33_046_312,
    "msvmamba_v3_t": 32_263_720,
    "msvmamba_v3_s": 50_216_296,
    "msvmamba_v3_b": 90_591_976,
}


@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]


@pytest.mark.parametrize("name", ["msvmamba_n", "msvmamba_v3_t"])
def test_norms_activations_and_drop_path_are_the_originals(name):
    """Differences too small for the figures, or seen in training alone."""
    with torch.device("meta"):
        model = mmmamba.create_backbone(name)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert module.eps == 1e-5
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
    blocks = [block for stage in model.stages for block in stage.blocks]
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx(torch.linspace(0, 0.2, len(blocks)).tolist())


def test_the_feed_forward_layer_starts_as_convolutions_do():
    torch.manual_seed(0)
    model = mmmamba.create_backbone("msvmamba_n")
    block = model.layers[3].blocks[1].requires_grad_(False)
    # PyTorch's start is uniform in one over the root of the inputs, and has biases.
    bound = block.mlp.fc1.in_features**-0.5
    assert block.mlp.fc1.weight.abs().max() <= bound and block.mlp.fc1.bias.abs().sum() > 0
    assert block.mlp.fc1.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert block.op.in_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not block.op.A_logs.any() and block.op.Ds.eq(1).all()
