"""VSSD computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import harness, recipe

CASES = {
    "vssd/vssd_micro": "vssd_micro",
    "vssd/vssd_tiny": "vssd_t",
    "vssd/vssd_small": "vssd_s",
    "vssd/vssd_base": "vssd_b",
}


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_maps(case, name):
    harness.check_maps(recipe.load_case(f"{case}.json"), lambda: mmmamba.create_backbone(name))
