"""Names of the learning benchmark are backbones that exist, with what it asks of them."""

import importlib
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

import mmmamba
from mmmamba.layers import SS2D

LEARN = Path(__file__).parents[2] / "benchmarks" / "learn"


@pytest.fixture
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(LEARN)
    return importlib.import_module("recipes")


def test_every_name_is_a_published_member(recipes):
    known = set(mmmamba.list_backbones())
    assert recipes.OURS.keys() <= known
    assert {arch for arch, _ in recipes.ROUTED.values()} <= known


def test_other_routes_reach_the_scans(recipes):
    for name, first in (
        ("vmamba_t_fractal", ["fractal_curve"] * 2),
        ("vmamba_t_fractal_shifted", ["fractal_curve", "fractal_curve_shifted"]),
    ):
        with torch.device("meta"):
            config, widths, neck = recipes._backbone(name)
            model = MODELS.build(config)
        walked = [m.routes[0] for m in model.modules() if isinstance(m, SS2D)]
        assert walked[:2] == first and walked[-2:] == first
        assert widths == [96, 192, 384, 768] and not neck
