"""GroupMamba computes what its authors computed."""

import pytest
import torch

import mmmamba
from mmmamba.layers import channels_first

from . import harness, recipe

CASES = {
    "groupmamba/groupmamba_tiny": "groupmamba_t",
    "groupmamba/groupmamba_small": "groupmamba_s",
    "groupmamba/groupmamba_base": "groupmamba_b",
}
SLOW = ("groupmamba/groupmamba_small", "groupmamba/groupmamba_base")
TOLERANCE = 1e-3
"""The original's own rounding in float32 moves its last map by 3e-4: see the cases' `note`."""


def loaded(case, name, **given):
    model = mmmamba.create_backbone(name, **given)
    model.load_weights(harness.weights(case["state_dict"]))
    return model


def watch(model):
    """What the first block and the last stage hold in a pass, under the cases' names."""
    found = {}

    def keep(module, name, layout):
        module.register_forward_hook(lambda m, given, out: found.update({name: layout(out)}))

    block, last = model.layers[0].blocks[0], model.layers[3]
    for module, name in ((model.patch_embed, "patch_embed1"), (block.attn, "attn")):
        keep(module, name, lambda x_BHWC: x_BHWC.flatten(1, 2))
    keep(block.mlp, "mlp", lambda x_BHWC: x_BHWC.flatten(1, 2))
    for g in range(4):
        keep(block.attn.groups, f"group{g + 1}", lambda x_BHWC, g=g: x_BHWC.chunk(4, -1)[g])
    keep(last.blocks[-1], "stage3_raw", channels_first)
    if model.is_classifier:
        keep(last.norm, "vector", lambda out_B11C: out_B11C.flatten(1))
    return found


def check(case, model, found, named):
    """Outputs `named(output)` and what was `found`, for both inputs."""
    for suffix in ("", "_odd"):
        output = harness.run(model, case[f"input{suffix}"])
        got = found | named(output)
        # Inner figures are the first input's.
        want = case[f"outputs{suffix}"] | ({} if suffix else case["debug"])
        want = {name: figures for name, figures in want.items() if name in got}
        harness.compare({name: got[name] for name in want}, want, TOLERANCE)


@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_maps(case, name):
    case = recipe.load_case(f"{case}.json")
    model = loaded(case, name)
    assert sum(p.numel() for p in model.parameters()) == case["parameters_dense"]
    check(case, model, watch(model), lambda maps: {f"stage{i}": m for i, m in enumerate(maps)})


@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
def test_logits(case, name):
    case = recipe.load_case(f"{case}.json")
    model = loaded(case, name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    check(case, model, watch(model), lambda logits: {"logits": logits})


def test_training_files_are_read_by_their_averaged_weights():
    case = recipe.load_case("groupmamba/groupmamba_tiny.json")
    state = harness.weights(case["state_dict"])
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    model = mmmamba.create_backbone("groupmamba_t", weights={"model": zeros, "model_ema": state})
    assert torch.equal(model.layers[2].norm.weight, state["norm3.weight"])
    # A group's channels are a quarter, in the groups' order.
    for g, mixed in enumerate(model.layers[1].blocks[2].attn.groups.Ds.chunk(4)):
        assert torch.equal(mixed, state[f"block2.2.attn.mamba_g{g + 1}.Ds"])


def test_what_figures_do_not_show():
    """The epsilon of the norms, GELU's form, drop path and the start."""
    torch.manual_seed(0)
    model = mmmamba.create_backbone("groupmamba_t")
    wide = {module for name, module in model.named_modules() if name.endswith(("norm2", ".norm"))}
    fine = {model.layers[i].norm for i in range(4)}
    fine |= {block.norm2 for stage in model.layers for block in stage.blocks}
    assert fine < wide
    for module in model.modules():
        if isinstance(getattr(module, "eps", None), float):
            assert module.eps == (1e-6 if module in fine else 1e-5)
        if isinstance(module, torch.nn.GELU):
            assert module.approximate == "none"
    rates = [getattr(b.drop_path, "p", 0.0) for stage in model.layers for b in stage.blocks]
    assert rates == pytest.approx([0.05 * i / 18 for i in range(19)])
    attn = model.layers[2].blocks[0].attn.requires_grad_(False)
    assert attn.groups.A_logs.eq(0).all() and attn.skip_scale.eq(1).all()
    assert attn.groups.in_proj.weight.std() == pytest.approx(0.02, rel=0.02)
    assert attn.groups.conv2d.weight.std() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    # A group's rank is a sixteenth of its own width, not of the layer's.
    assert attn.groups.dt_projs_weight.shape == (4, 87, 6)
