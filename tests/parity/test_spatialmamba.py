"""Spatial-Mamba computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import harness, recipe

CASES = {
    "spatial_mamba/spatial_mamba_tiny": "spatialmamba_t",
    "spatial_mamba/spatial_mamba_small": "spatialmamba_s",
    "spatial_mamba/spatial_mamba_base": "spatialmamba_b",
}
CLASSIFIER_PARAMETERS = {
    "spatialmamba_t": 26_748_862,
    "spatialmamba_s": 43_074_280,
    "spatialmamba_b": 95_745_592,
}


@pytest.mark.parametrize("case, name", harness.cases(CASES, slow=tuple(CASES)[1:]))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]


def test_norms_activations_and_drop_path_are_the_originals():
    """Differences that the figures do not show."""
    model = mmmamba.create_backbone("spatialmamba_s")
    for module in model.modules():
        if isinstance(module, (torch.nn.LayerNorm, torch.nn.BatchNorm2d)):
            assert module.eps == 1e-5
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
    blocks = [block for stage in model.layers for block in stage.blocks]
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx([0.3 * i / 31 for i in range(32)])


def test_what_a_model_starts_from():
    """The fusion is a plain sum of the neighbours; every state decays alike."""
    mixer = mmmamba.create_backbone("spatialmamba_t").layers[0].blocks[0].attn
    fusion = mixer.state_fusion
    assert all(bool((p == 1).all()) for p in (*fusion.kernels, fusion.alpha, mixer.Ds))
    assert not mixer.A_logs.any()
    assert mixer.x_proj_weight.abs().max() <= 128**-0.5
    assert mixer.dt_projs_weight.abs().max() <= 4**-0.5


def test_classifiers_files_fit_backbone_and_classifier_and_averaged_weights_come_first():
    case = recipe.load_case("spatial_mamba/spatial_mamba_tiny.json")
    names = {n: s for n, s in case["state_dict"].items() if not n.startswith("outnorm")}
    head = {
        "norm.weight": [512],
        "norm.bias": [512],
        "head.weight": [1000, 512],
        "head.bias": [1000],
    }
    state = harness.weights(names | head)
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    for classifier in (False, True):
        model = mmmamba.create_backbone(
            "spatialmamba_t", weights=dict(model=zeros, model_ema=state), classifier=classifier
        )
        theirs = state["layers.1.blocks.2.self_attention.state_fusion.kernel_3_1"]
        assert torch.equal(model.layers[1].blocks[2].attn.state_fusion.kernels[1], theirs)
    assert torch.equal(model.classifier.head.weight, state["head.weight"])
