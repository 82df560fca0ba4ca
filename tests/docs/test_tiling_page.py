"""The Python of docs/tiling.md runs; its lines for a shell need data, and are parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .blocks import run_page


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("docs/tiling.md", parsed=("mmmamba ", "tools/aerial_to_coco.py", "benchmarks/"))
