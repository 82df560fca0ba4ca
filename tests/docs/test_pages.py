"""Every block of every page runs: here those of pages without a test of their own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .blocks import NOT_RUN, PAGES, ROOT, RUN, blocks, run_page

HERE = Path(__file__)
ELSEWHERE = {
    page
    for path in HERE.parent.glob("test_*.py")
    if path != HERE
    for page in re.findall(r'run_page\(\s*"(.+?)"', path.read_text())
}
MKDOCS = ROOT / ".venv-docs/bin/mkdocs"
LOADED = re.compile(
    r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link rel="stylesheet" href="([^"]+)"'
)
NAMED = re.compile(r"`((?:mmmamba|configs|tools|benchmarks|tests|docs|requirements)/[\w./*-]+)`")
"""Files and folders of the repository that a sentence names."""
THE_READERS = {
    "configs/mamba_yolo/mine.py",
    "mmmamba/ops/NAME.py",
}
"""Those that whoever reads the page is to write."""
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
def test_files_that_are_named_are_there(page: str) -> None:
    named = set(NAMED.findall((ROOT / page).read_text())) - THE_READERS
    missing = [path for path in named if not any(ROOT.glob(path))]
    assert not missing, f"{page} names {missing}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    folder = (ROOT / page).parent
    assert not [
        link for link in LINK.findall((ROOT / page).read_text()) if not (folder / link).exists()
    ]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    assert sorted(re.findall(r"(\w+\.md)", navigation)) == sorted(
        Path(page).name for page in PAGES[1:]
    )


@pytest.mark.skipif(not MKDOCS.is_file(), reason="`make docs` installs mkdocs")
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    build = [MKDOCS, "build", "--strict", "--site-dir", tmp_path]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    # It is read without a network, from a folder: nothing is loaded from elsewhere.
    pages = [path.read_text() for path in tmp_path.rglob("*.html")]
    assert len(pages) > len(PAGES[1:])
    # A list right under its paragraph is one, as it is wherever else Markdown is shown.
    assert "<li>" in (tmp_path / "SECURITY.html").read_text()
    loaded = {"".join(found) for page in pages for found in LOADED.findall(page)}
    assert loaded and not [place for place in loaded if place.startswith(("http", "//"))]
