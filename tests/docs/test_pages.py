"""Every block of every page runs: here those of pages without a test of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .blocks import NOT_RUN, PAGES, ROOT, RUN, blocks, run_page

HERE = Path(__file__)
ELSEWHERE = {page for path in HERE.parent.glob("test_*.py") if path != HERE
             for page in re.findall(r'run_page\(\s*"(.+?)"', path.read_text())}  # fmt: skip
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language(page: str) -> None:
    """One without would be run by nothing."""
    assert {block.language for block in blocks(page)} <= {*RUN, *NOT_RUN}
    assert (ROOT / page).read_text().count("```") == 2 * len(blocks(page))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    folder = (ROOT / page).parent
    assert not [link for link in LINK.findall((ROOT / page).read_text()) if not (folder / link).exists()]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    assert sorted(re.findall(r"(\w+\.md)", navigation)) == sorted(Path(page).name for page in PAGES[1:])
