"""Mamba-ND of images computes what its authors computed."""

import pytest
import torch

import mmmamba
from mmmamba.layers import channels_first

from . import harness, recipe

CASES = {
    "mamba_nd/mamba_nd_small_odd": "mamba_nd_s",
    "mamba_nd/mamba_nd_small": "mamba_nd_s",
    "mamba_nd/mamba_nd_base": "mamba_nd_b",
}
SLOW = tuple(CASES)[1:]


def watch(model):
    """What parts hold in a pass, under the cases' names."""
    found = {}

    def keep(name, module):
        layout = channels_first if name.startswith("map") else lambda x: x.flatten(1, 2)
        module.register_forward_hook(lambda m, given, out: found.update({name: layout(out)}))

    for j in range(4):
        keep(f"layers.{j}", model.stages[0].blocks[j])
    keep("layers.9.down_sample_layer", model.stages[0].downsample)
    model.stages[1].norm.register_forward_hook(
        lambda m, given, out: found.update(map16_raw=channels_first(given[0]))
    )
    if model.is_classifier:
        keep("map8", model.stages[0])
        keep("map16", model.stages[1])
        model.classifier.head.register_forward_hook(
            lambda m, given, out: found.update(vector=given[0], logits=out)
        )
    return found


@pytest.mark.parametrize("classifier", [False, True], ids=["maps", "logits"])
@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_figures(case, name, classifier):
    case = recipe.load_case(f"{case}.json")
    state = harness.weights(case["state_dict"])
    model = mmmamba.create_backbone(name, classifier=classifier)
    bare = {n.removeprefix("backbone."): v for n, v in state.items()}
    head = {n: v for n, v in bare.items() if n.startswith("head.")}
    body = {f"backbone.{n}": v for n, v in bare.items() if n not in head}
    model.load_weights({"state_dict": body | head, "meta": {}})
    counted = sum(p.numel() for p in model.parameters())
    if classifier:
        assert counted == case["parameters_with_head"]
    found = watch(model)
    for suffix in ("", "_rect"):
        if f"input{suffix}" not in case:
            continue
        output = harness.run(model, case[f"input{suffix}"])
        got = found if classifier else found | dict(map8=output[1], map16=output[2])
        want = case[f"outputs{suffix}"] | ({} if suffix else case.get("probes", {}))
        want = {name: figures for name, figures in want.items() if name in got}
        assert {"map8", "map16", "map16_raw"} <= set(want)
        harness.compare({name: got[name] for name in want}, want, case["tolerance_suggested"])


def test_what_figures_do_not_show():
    """The epsilon of the norms, drop path, dropout and the start."""
    torch.manual_seed(0)
    model = mmmamba.create_backbone("mamba_nd_s", classifier=True)
    fine = {model.stages[1].norm, model.classifier.norm}
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert module.eps == (1e-6 if module in fine else 1e-5)
    blocks = [block for stage in model.stages for block in stage.blocks]
    rates = [getattr(block.drop_path, "p", 0.0) for block in blocks]
    assert rates == pytest.approx([0.1 * i / 23 for i in range(24)])
    assert model.patch_embed.drop.p == 0.1
    steps = torch.nn.functional.softplus(blocks[3].op.dt_proj.bias.detach())
    assert steps.min() >= 1e-3 and steps.max() <= 0.1 + 1e-6
    assert model.classifier.head.weight.detach().std() < 3e-5
