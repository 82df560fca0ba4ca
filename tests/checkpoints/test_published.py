"""The table of published files names every variant, once, with a place and a result."""

import re
import urllib.parse
from pathlib import Path

import pytest

from mmmamba import list_backbones
from mmmamba.checkpoints import CheckpointError, Repository, list_published, published
from mmmamba.checkpoints.catalogue import in_order, published_at


def test_every_entry_is_whole():
    entries = list_published()
    files = [p for p in entries if not p.page]
    assert len({(p.name, p.task) for p in entries}) == len(entries) and len(
        {p.url for p in files}
    ) == len(files)
    for p in entries:
        url = urllib.parse.urlsplit(p.url)
        assert url.scheme == "https" and url.netloc and not url.fragment, p
        assert (
            p.licence and p.expected and all(20 < value < 100 for value in p.expected.values())
        ), p
        assert published(p.name, p.task) is p and published_at(p.url).page == p.page


def test_every_vmamba_and_mambavision_backbone_has_a_classifier():
    for name in list_backbones("vmamba*") + list_backbones("mambavision*"):
        assert published(name).task == "classification"


def test_names_are_those_of_the_backbones():
    families = {name.split("_", 1)[0] for name in list_backbones()}
    named = {p.name for p in list_published() if p.name.split("_", 1)[0] in families}
    assert named <= set(list_backbones())


def test_configs_take_their_weights_from_the_table():
    configs = Path(__file__).parents[2] / "configs"
    text = "".join(file.read_text(encoding="utf-8") for file in configs.rglob("*.py"))
    # Long addresses are written as two literals, one below the other.
    text = re.sub(r'"\n\s*"', "", text)
    urls = set(re.findall(r'"(https://[^"]+\.(?:pth|tar|ckpt)[^"]*)"', text))
    assert urls and all(published_at(url) for url in urls)


def test_what_the_papers_say():
    assert published("vmamba_t").expected == {"top1": 82.6}
    assert published("vmamba_t", "mask_rcnn_1x").expected == {"box_ap": 47.3, "mask_ap": 42.7}
    assert published("vmamba_t", "mask_rcnn_1x").results == "box AP 47.3, mask AP 42.7"
    assert published("mambavision_b", "upernet_160k").expected == {"miou": 49.1}
    assert "CC-BY-NC-SA-4.0" in published("mambavision_t").licence


def test_unknown_names_and_tasks_are_answered_with_the_nearest():
    with pytest.raises(
        CheckpointError, match="no weights are published for 'mambavison_t'.*'mambavision_t'"
    ):
        published("mambavison_t")
    with pytest.raises(
        CheckpointError, match="no 'mask_rcnn_2x' weights .*there are classification, mask_rcnn_1x"
    ):
        published("vmamba_t", "mask_rcnn_2x")


def test_list_by_pattern():
    assert {p.name for p in list_published("vmamba_v0_*", "upernet*")} == {
        "vmamba_v0_t",
        "vmamba_v0_s",
        "vmamba_v0_b",
    }


def test_tables_begin_with_the_families_most_asked_for_and_any_other_has_its_place():
    families = ["Vim", "AnotherMamba", "VMamba", "ZebraMamba"]
    assert in_order(families) == ["VMamba", "Vim", "AnotherMamba", "ZebraMamba"]


def test_a_misspelt_result_is_told():
    repository = Repository("https://example.org", "MIT", "https://example.org/{}")
    with pytest.raises(ValueError, match="there is no result box_map; there are top1, box_ap"):
        repository.file("a_t", "mask_rcnn_1x", at="a.pth", box_map=40.0)
