"""MLLA computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import harness, recipe

CASES = {
    "mlla/mlla_tiny": "mlla_t",
    "mlla/mlla_small": "mlla_s",
    "mlla/mlla_base": "mlla_b",
}


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))
