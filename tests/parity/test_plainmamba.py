"""PlainMamba computes what its authors computed."""

import re

import pytest
import torch

import mmmamba
from mmmamba.models.backbones.plain_mamba import PlainMamba

from . import harness, recipe

COLUMNS = {f"plainmamba/plainmamba_l{i}": f"plainmamba_l{i}" for i in (1, 2, 3)}
DETECTORS = {f"plainmamba/plainmamba_l{i}_det": f"plainmamba_l{i}_det" for i in (1, 2, 3)}


@pytest.mark.parametrize("case, name", harness.cases(COLUMNS))
def test_maps(case, name):
    case = recipe.load_case(f"{case}.json")
    model = mmmamba.create_backbone(name)
    state = harness.weights(case["state_dict"])
    assert sum(value.numel() for value in model.parameters()) == case["parameters"]
    assert list(model.out_indices) == case["arguments"]["out_indices"]
    model.load_weights(state)
    for suffix in ("", "_odd"):
        maps = harness.run(model, case[f"input{suffix}"])
        got = {f"stage{n}": m for n, m in enumerate(maps)}
        harness.compare(got, case[f"outputs{suffix}"], case.get("tolerance_suggested", 1e-4))


@pytest.mark.parametrize("case, name", harness.cases(DETECTORS, slow=tuple(DETECTORS)[1:]))
def test_detection(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


def test_norms_activations_and_drop_path_are_the_originals():
    """Differences too small for the figures, or seen in training alone."""
    model = mmmamba.create_backbone("plainmamba_l1", drop_path_rate=0.23)
    inner = [layer.norm.eps for layer in model.layers]
    outer = [getattr(model, model._out_norm(n)).eps for n in range(4)]
    assert inner == [1e-5] * 24 and outer == [1e-6] * 4
    assert [m.approximate for m in model.modules() if isinstance(m, torch.nn.GELU)] == ["none"]
    assert all(m.eps == 1e-5 for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    rates = [getattr(layer.drop_path, "p", 0.0) for layer in model.layers]
    assert rates == pytest.approx(torch.linspace(0, 0.23, 24).tolist())


def test_it_starts_as_their_training_did():
    """Where step sizes are softplus of zero, not those that Mamba begins with."""
    op = mmmamba.create_backbone("plainmamba_l1").layers[0].op
    assert not op.dt_proj.bias.any() and 0.015 < op.dt_proj.weight.std() < 0.025


@pytest.mark.parametrize("number", [1, 2, 3])
def test_classifiers_are_as_large(number):
    with torch.device("meta"):
        model = mmmamba.create_backbone(f"plainmamba_l{number}", classifier=True)
    wanted = {1: 7_551_656, 2: 26_145_832, 3: 50_956_456}
    assert sum(p.numel() for p in model.parameters()) == wanted[number]


def test_a_classifiers_file_fits_column_and_classifier():
    """mmcls' layout: `head.fc` beside `backbone.`, no norms of the first three maps."""
    tiny = PlainMamba(**PlainMamba.TINY)
    theirs = {
        re.sub(r"^tokens\.|(?<=layers\.\d\.)op(?=\.)", _theirs, name): tensor
        for name, tensor in tiny.state_dict().items()
        if not name.startswith("norm_layer")
    }
    file = {f"backbone.{name}": tensor for name, tensor in theirs.items()}
    file |= {"head.fc.weight": torch.randn(1000, 16), "head.fc.bias": torch.randn(1000)}
    report = tiny.load_weights({"state_dict": file, "meta": {}})
    assert {name.split(".")[0] for name in report.missing} == {f"norm_layer{i}" for i in range(3)}
    classifier = PlainMamba(**PlainMamba.TINY, classifier=True)
    assert not classifier.load_weights({"state_dict": file, "meta": {}}).missing
    assert torch.equal(classifier.head.weight, file["head.fc.weight"])


def _theirs(found):
    return "mamba" if found[0] == "op" else ""
