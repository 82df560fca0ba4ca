"""InsectMamba computes what its authors computed."""

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.models.backbones import InsectMamba, VMamba

from . import harness, pyramids, recipe

CASES = {
    "insectmamba/insectmamba_micro": dict(embed_dims=32, depths=(1, 1, 1, 1)),
    "insectmamba/insectmamba_tiny": "insectmamba_t",
}
# What the maps do not tell is the shared head alone.
SLOW = tuple(CASES)
SIZES = dict(insectmamba_t=148_852_810, insectmamba_s=255_601_290, insectmamba_b=453_910_506)


@pytest.mark.parametrize("case, arch", harness.cases(CASES, SLOW))
def test_classifier(case, arch):
    case = recipe.load_case(f"{case}.json")
    model = InsectMamba(arch, classifier=True, num_classes=10)
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    pyramids.check_classifier(case, model)


def test_maps():
    case = recipe.load_case("insectmamba/insectmamba_micro.json")
    pyramids.check_maps(case, InsectMamba(CASES["insectmamba/insectmamba_micro"]))


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True, num_classes=10)
    assert sum(p.numel() for p in model.parameters()) == SIZES[name]


def test_attention_to_means_of_cells():
    """All cells take the value of the one mean that there is."""
    model = InsectMamba(**InsectMamba.TINY, attn_reductions=(4, 2)).eval()
    attn = model.layers[0].blocks[0].attn
    x_BHWC = torch.randn(2, 3, 4, 16)
    with torch.no_grad():
        got = attn(x_BHWC)
        value = attn.qkv(x_BHWC.mean((1, 2)))[:, 32:]
        torch.testing.assert_close(got, attn.proj(value)[:, None, None].expand_as(got))
        assert all(torch.isfinite(m).all() for m in model(torch.randn(1, 3, 97, 131)))
    with pytest.raises(ValueError, match="attn_reductions of InsectMamba"):
        InsectMamba(**InsectMamba.TINY, attn_reductions=(2,))


def test_starts_from_vmamba_where_that_is_allowed():
    theirs = VMamba(arch=dict(embed_dims=16, depths=(1, 2))).state_dict()
    model = InsectMamba(**InsectMamba.TINY)
    with pytest.raises(CheckpointError, match="not in the file"):
        model.load_weights({"model": theirs})
    load_weights(model, {"model": theirs}, allow_missing=[r".*\.(local|attn|sk_conv)\..*"])
    weight = "layers.1.blocks.1.op.in_proj.weight"
    assert torch.equal(model.state_dict()[weight], theirs[weight])


def test_norms_activations_and_start_are_the_originals():
    model = InsectMamba(**InsectMamba.TINY, embed_dims=64)
    norms = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
    assert all(m.eps == 1e-5 for m in model.modules() if isinstance(m, norms))
    assert all(m.approximate == "none" for m in model.modules() if isinstance(m, torch.nn.GELU))
    block = model.layers[0].blocks[0]
    # Xavier's uniform start of 64 to 192 channels; the others as linear layers start here.
    assert block.attn.qkv.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.1)
    assert block.sk_conv.fc[0].weight.std().item() == pytest.approx(0.02, rel=0.1)
