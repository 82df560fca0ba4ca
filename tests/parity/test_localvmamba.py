"""LocalVMamba computes what its authors computed."""

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError, load_weights

from . import harness, recipe

CASES = {
    "localmamba/localvmamba_tiny": "localvmamba_t",
    "localmamba/localvmamba_small": "localvmamba_s",
}
CLASSIFIER_PARAMETERS = {"localvmamba_t": 25_527_160, "localvmamba_s": 49_748_536}
every_case = pytest.mark.parametrize("case, name", harness.cases(CASES))


def published(case: dict, name: str, **arguments) -> torch.nn.Module:
    model = mmmamba.create_backbone(name, **arguments)
    load_weights(model, harness.weights(case["state_dict"]))
    return model


def check(case: dict, model: torch.nn.Module, image: str, outputs: str) -> None:
    maps = harness.run(model, case[image])
    harness.compare({f"stage{i}": m for i, m in enumerate(maps)}, case[outputs], 1e-4)


@every_case
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


@every_case
def test_maps_that_are_not_square(case, name):
    """The right pixels by default; the published code's wrong ones only when asked for."""
    case = recipe.load_case(f"{case}.json")
    model = published(case, name)
    check(case, model, "input_rect", "outputs_rect")
    for module in model.modules():
        if isinstance(module, mmmamba.layers.GatedMerge):
            module.columns_as_published = True
    check(case, model, "input_rect", "outputs_rect_as_published")


def test_the_published_columns_are_an_argument():
    case = recipe.load_case("localmamba/localvmamba_tiny.json")
    check(
        case,
        published(case, "localvmamba_t", columns_as_published=True),
        "input_rect",
        "outputs_rect_as_published",
    )


@every_case
def test_stem_and_first_block(case, name):
    case = recipe.load_case(f"{case}.json")
    model = published(case, name)
    seen = {}
    for key, module in {
        "patch_embed": model.patch_embed,
        "block_0": model.layers[0].blocks[0],
    }.items():
        module.register_forward_hook(
            lambda module, args, output, key=key: seen.update({key: output})
        )
    harness.run(model, case["input"])
    harness.compare(seen, case["debug"], 1e-4)


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]


def test_the_published_layout_loads():
    """The release holds a classifier and no output norms: both kinds take it, VMamba does not."""
    case = recipe.load_case("localmamba/localvmamba_tiny.json")
    manifest = {
        name: shape for name, shape in case["state_dict"].items() if not name.startswith("outnorm")
    }
    head = {
        "classifier.norm.weight": [768],
        "classifier.norm.bias": [768],
        "classifier.head.weight": [1000, 768],
        "classifier.head.bias": [1000],
    }
    released = {"state_dict": harness.weights(manifest | head)}
    report = mmmamba.create_backbone("localvmamba_t").load_weights(released)
    assert len(report.matched) == len(manifest) and sorted(report.unexpected) == sorted(head)
    report = mmmamba.create_backbone("localvmamba_t", classifier=True).load_weights(released)
    assert not report.missing and not report.unexpected
    with pytest.raises(CheckpointError, match="looks like one of LocalVMamba"):
        mmmamba.create_backbone("vmamba_t").load_weights(released)
    with pytest.raises(
        CheckpointError, match="The file is a localvmamba_t .* this module is a localvmamba_s"
    ):
        mmmamba.create_backbone("localvmamba_s").load_weights(released)


@every_case
def test_directions_are_the_published_ones(case, name):
    ours = {"row": "h", "column": "v", "window2": "w2", "window7": "w7"}
    blocks = [block for stage in mmmamba.create_backbone(name).layers for block in stage.blocks]
    for block, want in zip(
        blocks, recipe.load_case(f"{case}.json")["arguments"]["directions"], strict=True
    ):
        names = [
            (name.removesuffix("_reversed"), name.endswith("_reversed")) for name in block.op.routes
        ]
        got = [ours[name] + "_flip" * backwards for name, backwards in names]
        assert got == want


def test_norms_are_the_originals():
    """Differences too small for the figures."""
    norms = [
        m
        for m in mmmamba.create_backbone("localvmamba_t").modules()
        if isinstance(m, torch.nn.LayerNorm)
    ]
    assert all(norm.eps == 1e-5 for norm in norms)
