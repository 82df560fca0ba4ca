"""The page on routes shows every route, and what it says runs."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from mmmamba.ops import list_route_sets, list_routes, route

from .blocks import run_page

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "routes.md").read_text()
NAMES = [name for name in [*list_routes(), *list_route_sets()] if not name.startswith("test_")]


@pytest.mark.parametrize("name", NAMES)
def test_every_route_has_a_picture_and_a_place_on_the_page(name):
    assert (DOCS / f"images/routes/{name}.png").stat().st_size < 32 * 1024
    shown = "atrous" if name.startswith("atrous") else name
    assert f"images/routes/{shown}.png" in PAGE and f"`{shown}" in PAGE


def test_pictures_on_the_page_exist():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", PAGE):
        assert (DOCS / path).is_file()


def test_the_page():
    run_page("docs/routes.md", special={"backbone = ": backbones})
    assert torch.equal(route("bottom_up", 2, 3), torch.tensor([3, 4, 5, 0, 1, 2]))
    assert route("snake", 2, 3).tolist() == [0, 1, 2, 5, 4, 3]


def backbones(block):
    """Each line is the backbone of a config."""
    for line in block.splitlines():
        space = {}
        exec(line, space)
        with torch.device("meta"):
            assert MODELS.build(space["backbone"]).out_channels == [96, 192, 384, 768]
