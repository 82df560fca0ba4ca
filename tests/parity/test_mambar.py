"""Mamba-R computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import columns, harness, recipe

CASES = {
    "mamba_reg/mambar_tiny": dict(name="mambar_t"),
    "mamba_reg/mambar_small": dict(name="mambar_s"),
    "mamba_reg/mambar_base": dict(name="mambar_b"),
    "mamba_reg/mambar_large": dict(name="mambar_l"),
    "mamba_reg/mambar_tiny_rect": dict(name="mambar_t", img_size=(200, 168)),
}


@pytest.mark.parametrize("case, given", harness.cases(CASES, slow=("mamba_reg/mambar_base",)))
def test_classifier(case, given):
    case = recipe.load_case(f"{case}.json")
    model = mmmamba.create_backbone(**given, classifier=True)
    columns.check_classifier(case, model)
    assert list(model.tokens.layout(*case["tokens"]["grid"]).places) == case["register_positions"]
    if "input_odd" in case:
        # Theirs is built anew for the other size; ours moves registers and resizes positions.
        columns.check_other_input(case, model, "odd")


@pytest.mark.parametrize("features, theirs", [("stream", "stream"), ("mixer", "hidden")])
def test_maps_without_registers(features, theirs):
    case = recipe.load_case("mamba_reg/mambar_tiny_rect.json")
    model = mmmamba.create_backbone("mambar_t", img_size=(200, 168), features=features)
    maps = harness.run(columns.load(model, case), case["input"])
    names = [f"{theirs}{i}" for i in model.out_indices]
    harness.compare(dict(zip(names, maps)), {n: case["outputs"][n] for n in names}, 1e-4)


def test_norms_and_drop_path_are_the_originals():
    """Differences too small for the figures, or seen in training alone."""
    with torch.device("meta"):
        model = mmmamba.create_backbone("mambar_s", classifier=True, drop_path_rate=0.23)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.RMSNorm)]
    assert len(norms) == 26 and all(m.eps == 1e-5 for m in norms)
    wanted = [0.0, *torch.linspace(0, 0.23, 24).tolist()]
    assert columns.rates(model) == pytest.approx(wanted)
