"""Heracles computes what its authors' code computes once it runs."""

import pytest
import torch

import mmmamba
from mmmamba.layers import channels_first

from . import harness, recipe

CASES = {
    "heracles/heracles_s_odd": "heracles_s",
    "heracles/heracles_s": "heracles_s",
    "heracles/heracles_l": "heracles_l",
}
SLOW = tuple(CASES)[1:]


def watch(model):
    """What parts hold in a pass, under the cases' names."""
    found = {}

    def keep(name, module, layout=lambda x_BHWC: x_BHWC.flatten(1, 2)):
        module.register_forward_hook(lambda m, given, out: found.update({name: layout(out)}))

    block = model.layers[0].blocks[0]
    keep("patch_embed1.norm", model.patch_embed)
    keep("block1.0.attn", block.op)
    keep("block1.0.mlp", block.mlp)
    keep("block3.0.attn", model.layers[2].blocks[0].op)
    if model.is_classifier:
        keep("post_network.0.attn", model.post_network.op, lambda x_BLC: x_BLC)
        keep("stage3_raw", model.layers[3], channels_first)
        model.classifier.register_forward_hook(
            lambda m, given, out: found.update(vector=given[0], logits_cls=m.head(given[0]))
        )
    return found


@pytest.mark.parametrize("classifier", [False, True], ids=["maps", "logits"])
@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_figures(case, name, classifier):
    case = recipe.load_case(f"{case}.json")
    sides = case["input"]["shape"][2:]
    model = mmmamba.create_backbone(name, classifier=classifier, img_size=sides)
    model.load_weights(harness.weights(case["state_dict"]))
    if classifier:
        assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    found = watch(model)
    output = harness.run(model, case["input"])
    got = {"logits": output} if classifier else {f"stage{i}": m for i, m in enumerate(output)}
    got |= found
    want = case["outputs"] | case.get("probes", {})
    want = {name: figures for name, figures in want.items() if name in got}
    harness.compare({name: got[name] for name in want}, want, case["tolerance_suggested"])


def test_sizes_of_backbones():
    wanted = {"heracles_s": 18_366_240, "heracles_b": 28_326_080, "heracles_l": 49_504_672}
    for name, parameters in wanted.items():
        with torch.device("meta"):
            model = mmmamba.create_backbone(name)
        assert sum(p.numel() for p in model.parameters()) == parameters


def test_what_figures_do_not_show():
    """The epsilon of the norms, drop path, the start, and filters of files for other sizes."""
    torch.manual_seed(0)
    model = mmmamba.create_backbone("heracles_s", img_size=64)
    stem = {model.patch_embed, *(stage.downsample for stage in model.layers[:3])}
    coarse = {module for part in stem for module in part.modules()}
    for module in model.modules():
        if isinstance(getattr(module, "eps", None), float):
            assert module.eps == (1e-5 if module in coarse else 1e-6)
    blocks = [block for stage in model.layers for block in stage.blocks]
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx([0.1 * i / 15 for i in range(16)])
    assert blocks[0].op.weight.detach().std() == pytest.approx(0.02, rel=0.05)
    case = recipe.load_case("heracles/heracles_s_odd.json")
    state = harness.weights(case["state_dict"])
    model.load_weights(state)
    # Frequency 0 is what it was.
    kept = model.layers[1].blocks[2].op.weight
    assert kept.shape == (64, 8, 8)
    assert torch.equal(kept[:, 0, 0], state["block2.2.attn.weight"][:, 0, 0])
