"""VSSD computes what its authors computed."""

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError

from . import harness, recipe

CASES = {
    "vssd/vssd_micro": "vssd_m",
    "vssd/vssd_tiny": "vssd_t",
    "vssd/vssd_small": "vssd_s",
    "vssd/vssd_base": "vssd_b",
}
SLOW = ("vssd/vssd_tiny", "vssd/vssd_small", "vssd/vssd_base")
CLASSIFIER_PARAMETERS = {
    "vssd_m": 13_512_964,
    "vssd_t": 24_270_724,
    "vssd_s": 40_075_650,
    "vssd_b": 88_823_151,
}
FLOAT32 = 3e-4
"""How far float32 may be off where it cannot be float64: kernels of a GPU.

A norm divides sums over a whole map that nearly cancel in a few cells. There this network's own
float32 is up to 3.2e-4 from its float64, 4e-6 in the root mean square.
"""


@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_maps(case, name):
    """In float64, where that is possible: float32 would let a mistake hide behind its rounding."""
    case = recipe.load_case(f"{case}.json")
    dtype = torch.float64 if harness.DEVICE == "cpu" else torch.float32
    if dtype == torch.float32:
        case["tolerance_suggested"] = FLOAT32
    harness.check_maps(case, lambda: mmmamba.create_backbone(name).to(dtype))


def test_maps_in_float32():
    case = recipe.load_case("vssd/vssd_micro.json")
    harness.check_maps(case, lambda: mmmamba.create_backbone("vssd_m"))


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]


def published(case: dict, dim: int) -> dict[str, torch.Tensor]:
    """A classifier's weights under the names of its authors' file."""
    state = harness.weights(case["state_dict"])
    state = {name: value for name, value in state.items() if not name.startswith("outnorm")}
    return state | {
        "norm.weight": torch.ones(dim),
        "norm.bias": torch.zeros(dim),
        "head.weight": torch.ones(1000, dim),
        "head.bias": torch.zeros(1000),
    }


def test_published_files_load():
    state = published(recipe.load_case("vssd/vssd_micro.json"), 384)
    for classifier in (False, True):
        model = mmmamba.create_backbone(
            "vssd_m", classifier=classifier, weights={"model": state, "epoch": 1}
        )
        attention = model.layers[3].blocks[0].attn
        assert torch.equal(attention.qkv.weight, state["layers.3.blocks.0.attn.to_qkv.weight"])
    with pytest.raises(CheckpointError, match="vssd_m"):
        mmmamba.create_backbone("vssd_t", weights={"model": state})


def test_norms_activations_and_drop_path_are_the_originals():
    """Differences too small for the figures, or absent from them."""
    model = mmmamba.create_backbone("vssd_t", drop_path_rate=0.2)
    for module in model.modules():
        if isinstance(module, (torch.nn.LayerNorm, torch.nn.BatchNorm2d)):
            assert module.eps == 1e-5
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
    blocks = [block for stage in model.layers for block in stage.blocks]
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx([0.2 * i / 17 for i in range(18)])
    assert torch.equal(blocks[0].attn.D, torch.ones(2))
    A_G = blocks[0].attn.A_log.exp()
    assert ((A_G >= 1) & (A_G <= 16)).all()
