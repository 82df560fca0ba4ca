"""MobileMamba computes what its authors computed."""

import re

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.layers import channels_first

from . import harness, probes, recipe

CASES = {
    "mobilemamba/mobilemamba_t2": "mobilemamba_t2",
    "mobilemamba/mobilemamba_t4": "mobilemamba_t4",
    "mobilemamba/mobilemamba_s6": "mobilemamba_s6",
    "mobilemamba/mobilemamba_s6_haar": "mobilemamba_s6",
    "mobilemamba/mobilemamba_b1": "mobilemamba_b1",
    "mobilemamba/mobilemamba_b2": "mobilemamba_b2",
    "mobilemamba/mobilemamba_b4": "mobilemamba_b4",
}
FILTERS = r".*\.(wt|iwt)_filter"


def loaded(case, name):
    model = mmmamba.create_backbone(name)
    kept = [re.escape(theirs) for theirs in case.get("kept_at_init", ())]
    # What the case leaves at its start is missing under our names; all of it is filters.
    assert all(re.fullmatch(FILTERS, theirs.replace("\\", "")) for theirs in kept)
    load_weights(
        model, harness.weights(case["state_dict"]), allow_missing=[FILTERS] if kept else []
    )
    return model


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_maps(case, name):
    case = recipe.load_case(f"{case}.json")
    model = loaded(case, name)
    stem = {}
    model.patch_embed.register_forward_hook(
        lambda module, args, output: stem.update(map=channels_first(output))
    )
    for suffix in ("", "_odd"):
        maps = harness.run(model, case[f"input{suffix}"])
        got = {"patch_embed": stem["map"]} | {f"stage{i}": m for i, m in enumerate(maps)}
        harness.compare(got, case[f"outputs{suffix}"], case.get("tolerance_suggested", 1e-4))


def path_of(name: str) -> str:
    """Our module of theirs."""
    for stage in (2, 3):
        name = re.sub(rf"^blocks{stage}\.([012])$", rf"layers.{stage - 2}.downsample.\1", name)
        name = re.sub(
            rf"^blocks{stage}\.(\d+)",
            lambda m, s=stage: f"layers.{s - 1}.blocks.{int(m[1]) - 3}",
            name,
        )
    return re.sub(r"^blocks1\.", "layers.0.blocks.", name).replace(".mixer.m.attn", ".mixer.m")


def layout(name: str, output: torch.Tensor) -> torch.Tensor:
    last = name.endswith("global_atten") or re.fullmatch(
        r"blocks1\.\d+|blocks[23]\.([3-9]|\d\d+)", name
    )
    return channels_first(output) if last else output


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_inner_modules(case, name):
    case = recipe.load_case(f"{case}.json")
    probes.check_probes(case, loaded(case, name), path_of, layout)


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_sizes_are_the_published(case, name):
    """The authors count the fixed filters as parameters."""
    case = recipe.load_case(f"{case}.json")
    for classifier, key in ((False, "parameters"), (True, "parameters_classifier")):
        model = mmmamba.create_backbone(name, classifier=classifier)
        trained = sum(p.numel() for p in model.parameters())
        fixed = sum(b.numel() for n, b in model.named_buffers() if re.fullmatch(FILTERS, n))
        assert trained + fixed == case[key]
        assert classifier or trained == case["parameters_trainable"]


def test_filters_are_needed_and_norms_are_the_originals():
    case = recipe.load_case("mobilemamba/mobilemamba_s6_haar.json")
    model = mmmamba.create_backbone("mobilemamba_s6")
    with pytest.raises(CheckpointError, match="wt_filter"):
        model.load_weights(harness.weights(case["state_dict"]))
    for module in model.modules():
        if isinstance(module, (torch.nn.LayerNorm, torch.nn.BatchNorm2d)):
            assert module.eps == 1e-5


def test_classifiers_files_fit_backbone_and_classifier_and_averaged_weights_come_first():
    case = recipe.load_case("mobilemamba/mobilemamba_t2.json")
    state = harness.weights(
        case["state_dict"]
        | {
            "head.bn.weight": [368],
            "head.bn.bias": [368],
            "head.bn.running_mean": [368],
            "head.bn.running_var": [368],
            "head.l.weight": [1000, 368],
            "head.l.bias": [1000],
        }
    )
    training_file = {
        "net": {name: torch.zeros_like(value) for name, value in state.items()},
        "net_E": state,
    }
    for classifier in (False, True):
        model = mmmamba.create_backbone(
            "mobilemamba_t2", weights=training_file, classifier=classifier
        )
        assert torch.equal(model.patch_embed[6].c.weight, state["patch_embed.6.c.weight"])
    assert torch.equal(model.head.l.weight, state["head.l.weight"])
