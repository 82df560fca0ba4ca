"""The page on what a run leaves: its blocks run, and it names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from mmengine.registry import HOOKS, VISBACKENDS

import mmmamba.engine.hooks.pictures  # noqa: F401  registers the hook
from mmmamba.engine.tracking import TRACKERS

from .blocks import ROOT, blocks, run_page

NAME = "docs/training_outputs.md"
PAGE = (ROOT / NAME).read_text()


def test_blocks_run() -> None:
    run_page("docs/training_outputs.md", parsed=("mmmamba train mask_rcnn",))


def test_settings_are_those_of_the_hook_and_of_backends() -> None:
    space: dict = {}
    for block in blocks(NAME):
        if block.language == "python":
            exec(block.text, space)
    HOOKS.build(space["default_hooks"]["pictures"])
    assert all(VISBACKENDS.get(backend["type"]) for backend in space["visualizer"]["vis_backends"])
    assert all(f"`{name}`" in PAGE or f"--log-to {name}" in PAGE for name in TRACKERS)


def test_pictures_are_there_and_small() -> None:
    paths = re.findall(r"!\[.*?\]\((.*?)\)", PAGE)
    assert len(paths) == 4 and all(
        Path(ROOT, "docs", path).stat().st_size < 150_000 for path in paths
    )
