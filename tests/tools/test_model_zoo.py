"""The model zoo page is up to date, and its counts agree with the printed ones or say why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmmamba import list_backbones
from mmmamba.checkpoints import list_published
from mmmamba.checkpoints.catalogue import published_sizes
from mmmamba.evaluation.counting import Count, count
from mmmamba.models.backbones.factory import family_of
from mmmamba.models.segmentors.sigma.backbone import SigmaBackbone
from tools.make_model_zoo import (
    CLASSIFIERS,
    METHODS,
    NOT_BUILT,
    agrees,
    backbone_row,
    classifier_row,
    config_table,
    files_table,
    not_built_table,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "model_zoo.md").read_text(encoding="utf-8")
SIZES = published_sizes()
WRITE = "write docs/model_zoo.md anew: python tools/make_model_zoo.py"
# The smallest of each family, with the multiply-adds of linear layers, of attention and of the scan
# where they were counted by hand.
COUNTED = {
    "vmamba_t": None,
    "mambavision_t": (4.45, 0.11, None),
    "localvmamba_t": None,
    "localvim_t": None,
    "vim_t": (1.29, 0.0, 0.53),
    "efficientvmamba_t": (0.79 - 0.131, 0.0, 0.131),
    "mobilemamba_t2": None,
    "plainmamba_l1": (1.966, 0.0, 1.048),
}


@pytest.mark.parametrize("method", METHODS)
def test_configs_on_the_page(method: str) -> None:
    assert config_table(method, ROOT / "configs") in PAGE, WRITE


def test_what_is_not_built_is_on_the_page_and_is_not_built() -> None:
    assert not_built_table() in PAGE, WRITE
    families = {family_of(name).__name__.lower() for name in list_backbones()}
    for systems in NOT_BUILT:
        assert not families & set(re.findall(r"\w+", systems.replace("-", "").lower()))


def test_recipes_of_classifiers_on_the_page() -> None:
    files = sorted((ROOT / "configs" / CLASSIFIERS).glob("*.py"))
    assert re.findall(rf"\(\.\./configs/{CLASSIFIERS}/(.+?)\)", PAGE) == [f.name for f in files], (
        WRITE
    )
    # Each takes a tenth of a second to read.
    assert all(classifier_row(file) in PAGE for file in files[::10]), WRITE


@pytest.mark.parametrize("name", COUNTED)
def test_backbones_on_the_page(name: str) -> None:
    counted = count(name, SIZES[name].size)
    assert backbone_row(name, counted) in PAGE, WRITE
    if COUNTED[name] is not None:
        linear, attention, scan = COUNTED[name]
        assert counted.linear == pytest.approx(linear, rel=0.01)
        assert counted.attention == pytest.approx(attention, abs=0.01)
        assert scan is None or counted.scan == pytest.approx(scan, rel=0.01)


def test_all_backbones_are_on_the_page_and_outliers_are_explained() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| \w+ \| `", line)]
    assert [row.split("`")[1] for row in rows] == list(SIZES), WRITE
    known = list_backbones()
    assert (
        {name for name in known if list_published(name, "classification")}
        <= set(SIZES)
        <= set(known)
    )
    # Neither `list` nor `download` offers weights for what cannot be built.
    assert {file.name for file in list_published()} <= {*known, *SigmaBackbone.ARCHS}
    marked = {row.split("`")[1] for row in rows if "†" in row}
    notes = PAGE.split("Notes on †")[1].split("## Detectors")[0]
    assert marked and all(f"**{family_of(name).__name__}" in notes for name in marked)
    wrong_size = {row.split("`")[1] for row in rows if "†" in row.split("|")[4]}
    assert wrong_size == {
        "efficientvmamba_b",
        "groupmamba_s",
        "mamba_nd_b",
        "mamba_nd_s",
        "mlla_t",
        "plainmamba_l1",
        "plainmamba_l2",
    }


@pytest.mark.parametrize(
    ("counted", "printed", "wanted"),
    [
        (30.249, "30.249", True),
        (4.86, "4.906", True),
        (4.84, "4.906", False),
        (6.49, "6", True),
        (6.6, "6", False),
    ],
)
def test_agreement(counted: float, printed: str, wanted: bool) -> None:
    assert agrees(counted, printed) is wanted


def test_outliers_are_marked() -> None:
    assert "60.00 / 30.249 † | 4.91 / 4.906 |" in backbone_row(
        "vmamba_t", Count(60_000_000, 4.906, 0.0, 0.0)
    )


def test_the_page_on_checkpoints_ends_with_the_table_of_files() -> None:
    page = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    assert page.endswith("\n" + files_table()), WRITE
