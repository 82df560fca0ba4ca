"""MedMamba computes what its authors computed."""

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError
from mmmamba.models.backbones import MedMamba

from . import harness, pyramids, recipe

CASES = {
    "medmamba/medmamba_t": ("medmamba_t", 14_457_222),
    "medmamba/medmamba_s": ("medmamba_s", 18_625_158),
    "medmamba/medmamba_b": ("medmamba_b", 39_864_838),
}
# What the maps do not tell is a mean and a linear layer.
SLOW = tuple(CASES)


@pytest.mark.parametrize("case, variant", harness.cases(CASES, SLOW))
def test_classifier(case, variant):
    name, parameters = variant
    case = recipe.load_case(f"{case}.json")
    assert parameters == case["parameters"]
    model = mmmamba.create_backbone(name, classifier=True, num_classes=6)
    assert sum(p.numel() for p in model.parameters()) == parameters
    pyramids.check_classifier(case, model)


def test_maps():
    case = recipe.load_case("medmamba/medmamba_t.json")
    pyramids.check_maps(case, mmmamba.create_backbone("medmamba_t"))


def test_a_file_of_the_block_before_is_refused():
    model = MedMamba(**MedMamba.TINY)
    state = dict(model.state_dict())
    state["layers.0.blocks.0.finalconv11.weight"] = torch.ones(16, 16, 1, 1)
    with pytest.raises(CheckpointError, match="1 tensors of the file have no place.*finalconv11"):
        model.load_weights(state)


def test_odd_widths_have_no_halves():
    with pytest.raises(ValueError, match="15, wanted even widths"):
        MedMamba(**MedMamba.TINY, embed_dims=(15, 16, 16, 16))


def test_norms_drop_path_and_start_are_the_originals():
    model = MedMamba(**MedMamba.TINY, embed_dims=64, drop_path_rate=0.2)
    norms = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
    assert all(m.eps == 1e-5 for m in model.modules() if isinstance(m, norms))
    blocks = [block for stage in model.layers for block in stage.blocks]
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    # 16 cells of 64 channels; for a depthwise convolution, too, all channels count.
    assert model.patch_embed[0].weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.1)
    depthwise = blocks[-1].op.conv2d.weight
    assert depthwise.std().item() == pytest.approx((2 / (len(depthwise) * 9)) ** 0.5, rel=0.1)
