"""Spatial-Mamba computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import harness, recipe

CASES = {
    "spatial_mamba/spatial_mamba_tiny": "spatialmamba_t",
    "spatial_mamba/spatial_mamba_small": "spatialmamba_s",
    "spatial_mamba/spatial_mamba_base": "spatialmamba_b",
}
CLASSIFIER_PARAMETERS = {
    "spatialmamba_t": 26_748_862,
    "spatialmamba_s": 43_074_280,
    "spatialmamba_b": 95_745_592,
}


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]
