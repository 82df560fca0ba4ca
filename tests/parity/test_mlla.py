"""MLLA computes what its authors computed."""

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError

from . import harness, recipe

CASES = {
    "mlla/mlla_tiny": "mlla_t",
    "mlla/mlla_small": "mlla_s",
    "mlla/mlla_base": "mlla_b",
}
SLOW = ("mlla/mlla_small", "mlla/mlla_base")
CLASSIFIER_PARAMETERS = {"mlla_t": 24_392_200, "mlla_s": 43_015_048, "mlla_b": 95_983_960}


@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]


def test_published_files_load():
    """A classifier's have no output norms, and rotations that nothing reads."""
    case = recipe.load_case("mlla/mlla_tiny.json")
    state = harness.weights(case["state_dict"])
    state = {name: value for name, value in state.items() if not name.startswith("norm")}
    assert any(name.endswith("rope.rotations") for name in state)
    state |= {
        "norm.weight": torch.ones(512),
        "norm.bias": torch.zeros(512),
        "head.weight": torch.ones(1000, 512),
        "head.bias": torch.zeros(1000),
    }
    for classifier in (False, True):
        model = mmmamba.create_backbone("mlla_t", classifier=classifier, weights={"model": state})
        mixer = model.layers[0].blocks[0].attn
        assert torch.equal(mixer.in_proj.weight, state["layers.0.blocks.0.in_proj.weight"])
    with pytest.raises(CheckpointError, match="mlla_t"):
        mmmamba.create_backbone("mlla_s", weights={"model": state})


def test_norms_activations_and_drop_path_are_the_originals():
    """Differences too small for the figures, or absent from them."""
    model = mmmamba.create_backbone("mlla_t", drop_path_rate=0.2)
    for module in model.modules():
        if isinstance(module, (torch.nn.LayerNorm, torch.nn.BatchNorm2d)):
            assert module.eps == 1e-5
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
    blocks = [block for stage in model.layers for block in stage.blocks]
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx([0.2 * i / 17 for i in range(18)])
