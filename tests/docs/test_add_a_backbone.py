"""The worked example of docs/add_a_backbone.md runs and keeps every backbone's promises."""

import importlib
import inspect
import itertools
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

import mmmamba
from mmmamba.ops import route
from tests.models import test_backbone_contract as contract

from .blocks import run_page

PAGE = (Path(__file__).parents[2] / "docs" / "add_a_backbone.md").read_text()
EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
PROMISES = {
    name: test
    for name, test in vars(contract).items()
    if name.startswith("test_") and "family" in inspect.signature(test).parameters
}


@pytest.fixture(scope="module")
def comb_mamba(tmp_path_factory):
    """The example, imported as a module of its own (pickle wants that) and forgotten afterwards."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "comb_mamba.py").write_text(EXAMPLE)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("comb_mamba")
    sys.path.remove(str(folder))
    MODELS.module_dict.pop("CombMamba")


def arguments(test) -> list[dict]:
    """What a promise is tested with, beside the family."""
    marks = [
        mark.args
        for mark in test.pytestmark
        if mark.name == "parametrize" and mark.args[0] != "family"
    ]
    return [
        dict(zip((name for name, _ in marks), values))
        for values in itertools.product(*(v for _, v in marks))
    ]


@pytest.mark.parametrize("promise", PROMISES)
def test_the_example_keeps_the_promise(promise, comb_mamba, request, monkeypatch):
    monkeypatch.setitem(contract.FAMILIES, "CombMamba", comb_mamba.CombMamba)
    test = PROMISES[promise]
    for given in arguments(test):
        rest = inspect.signature(test).parameters.keys() - given.keys() - {"family"}
        test(family="CombMamba", **given, **{name: request.getfixturevalue(name) for name in rest})


def test_the_example_is_short():
    assert sum(bool(line.strip()) for line in EXAMPLE.splitlines()) <= 70


def test_its_route_its_names_and_its_config(comb_mamba):
    assert route("comb", 2, 5).tolist() == [0, 5, 2, 7, 4, 9, 3, 8, 1, 6]
    assert "comb_t" in mmmamba.list_backbones()
    # The first block is the module that was imported.
    run_page("docs/add_a_backbone.md", special={"class CombMamba": str, "backbone = ": of_config})


def of_config(block):
    config = {}
    exec(block, config)
    with torch.device("meta"):
        model = MODELS.build(config["backbone"])
    assert model.layers[0].blocks[0].op.routes == ("comb", "comb_reversed", "row", "row_reversed")
