"""SiMBA computes what its authors' code computes."""

import pytest
import torch

import mmmamba
from mmmamba.layers import channels_first

from . import harness, recipe

CASES = {
    "simba/simba_s_odd": "simba_s",
    "simba/simba_s_einfft_odd": "simba_s_einfft",
    "simba/simba_s": "simba_s",
    "simba/simba_s_einfft": "simba_s_einfft",
    "simba/simba_b": "simba_b",
    "simba/simba_l_einfft": "simba_l_einfft",
}
SLOW = tuple(CASES)[2:]


def watch(model):
    """What parts hold in a pass, under the cases' names."""
    found = {}

    def keep(name, module):
        layout = channels_first if name == "stage3_raw" else lambda x_BHWC: x_BHWC.flatten(1, 2)
        module.register_forward_hook(lambda m, given, out: found.update({name: layout(out)}))

    block = model.layers[0].blocks[0]
    keep("patch_embed1.norm", model.patch_embed)
    keep("block1.0.attn", block.op)
    keep("block1.0.mlp", block.mlp)
    if model.is_classifier:
        keep("post_network.0.attn", model.post_network.op)
        keep("stage3_raw", model.layers[3])
        model.classifier.register_forward_hook(
            lambda m, given, out: found.update(vector=given[0], logits_cls=m.head(given[0]))
        )
    return found


@pytest.mark.parametrize("classifier", [False, True], ids=["maps", "logits"])
@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_figures(case, name, classifier):
    case = recipe.load_case(f"{case}.json")
    model = mmmamba.create_backbone(name, classifier=classifier)
    model.load_weights(harness.weights(case["state_dict"]))
    if classifier:
        assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    found = watch(model)
    output = harness.run(model, case["input"])
    got = {"logits": output} if classifier else {f"stage{i}": m for i, m in enumerate(output)}
    want = case["outputs"] | case.get("probes", {})
    got |= found
    assert set(got) <= set(want) | set(found)
    want = {name: figures for name, figures in want.items() if name in got}
    harness.compare({name: got[name] for name in want}, want, case["tolerance_suggested"])


@pytest.mark.parametrize(
    "name, parameters",
    [("simba_s", 22_650_720), ("simba_b", 35_239_808), ("simba_l", 61_792_576)]
    + [("simba_s_einfft", 12_774_112), ("simba_l_einfft", 33_506_848)],
)
def test_sizes_of_backbones(name, parameters):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_what_figures_do_not_show():
    """The epsilon of the norms, GELU's form, drop path and the start."""
    torch.manual_seed(0)
    model = mmmamba.create_backbone("simba_s")
    blocks = [block for stage in model.layers for block in stage.blocks]
    fine = {stage.norm for stage in model.layers} | {block.norm2 for block in blocks}
    for module in model.modules():
        if isinstance(getattr(module, "eps", None), float):
            assert module.eps == (1e-6 if module in fine else 1e-5)
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx([0.1 * i / 15 for i in range(16)])
    op = blocks[0].op
    assert not op.dt_proj.bias.any() and op.dt_proj.weight.detach().std() == pytest.approx(
        0.02, rel=0.1
    )
    assert op.A_log.shape == (128, 64) and op.D.eq(1).all()
    assert blocks[0].mlp.dwconv.weight.detach().std() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
