"""GroupMamba computes what its authors computed."""

import pytest

import mmmamba

from . import harness, recipe

CASES = {
    "groupmamba/groupmamba_tiny": "groupmamba_t",
    "groupmamba/groupmamba_small": "groupmamba_s",
    "groupmamba/groupmamba_base": "groupmamba_b",
}
SLOW = ("groupmamba/groupmamba_small", "groupmamba/groupmamba_base")
TOLERANCE = 1e-3
"""As far as float32 rounding moves the original's last maps: see the cases' note."""


def inside(model, spec):
    """The outputs, and what the first block and the last stage held, under the cases' names."""
    found = {}

    def keep(name, layout=lambda x: x):
        return lambda module, given, out: found.update({name: layout(out)})

    block, last = model.layers[0].blocks[0], model.layers[3]

    def tokens(x):
        return x.flatten(1, 2)

    model.patch_embed.register_forward_hook(keep("patch_embed1", tokens))
    block.attn.register_forward_hook(keep("attn", tokens))
    block.mlp.register_forward_hook(keep("mlp", tokens))
    block.attn.groups.register_forward_hook(
        lambda m, given, out: found.update(
            {f"group{g + 1}": x for g, x in enumerate(out.chunk(4, -1))}
        )
    )
    # The block ends in a sum, which only a call of its own forms.
    last.blocks[-1].register_forward_hook(keep("stage3_raw", lambda x: x.permute(0, 3, 1, 2)))
    if model.is_classifier:
        last.norm.register_forward_hook(keep("vector", lambda out: out[0].flatten(1)))
    return harness.run(model, spec), found


@pytest.mark.parametrize("case, name", harness.cases(CASES, SLOW))
@pytest.mark.parametrize("classifier", [False, True])
def test_outputs(case, name, classifier):
    case = recipe.load_case(f"{case}.json")
    model = mmmamba.create_backbone(name, classifier=classifier)
    assert (
        sum(p.numel() for p in model.parameters())
        == case["parameters" if classifier else "parameters_dense"]
    )
    model.load_weights(harness.weights(case["state_dict"]))
    for suffix in ("", "_odd"):
        output, found = inside(model, case[f"input{suffix}"])
        if classifier:
            found["logits"] = output
        else:
            found |= {f"stage{i}": m for i, m in enumerate(output)}
        want = case[f"outputs{suffix}"]
        if not suffix:
            want = case["debug"] | want
        want = {n: f for n, f in want.items() if n in found}
        import sys

        for n, f in want.items():
            print(suffix, n, recipe.mismatch(found[n].float().cpu().numpy(), f), file=sys.stderr)
        harness.compare({n: found[n] for n in want}, want, TOLERANCE)
