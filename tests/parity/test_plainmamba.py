"""PlainMamba computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import harness, recipe

COLUMNS = {f"plainmamba/plainmamba_l{i}": f"plainmamba_l{i}" for i in (1, 2, 3)}


@pytest.mark.parametrize("case, name", harness.cases(COLUMNS, slow=("plainmamba/plainmamba_l3",)))
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


ADAPTED = {f"plainmamba/plainmamba_l{i}_det": f"plainmamba_l{i}_det" for i in (1, 2, 3)}


@pytest.mark.parametrize("case, name", harness.cases(ADAPTED, slow=tuple(ADAPTED)[1:]))
def test_detection(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))
