"""LocalVim computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import columns, harness, recipe

MAPS = {
    "localmamba/localvim_tiny": dict(name="localvim_t"),
    "localmamba/localvim_tiny_layernorm": dict(name="localvim_t", norm="layer"),
    "localmamba/localvim_small": dict(name="localvim_s"),
    "localmamba/localvim_small_wo_search": dict(name="localvim_s_wo_search"),
}
CLASSIFIERS = {
    "localmamba/localvim_tiny_midcls": dict(name="localvim_t_midcls"),
    "localmamba/localvim_tiny_midcls_208": dict(name="localvim_t_midcls", img_size=208),
}
CLASSIFIER_PARAMETERS = {
    "localvim_t": 7_994_152,
    "localvim_t_midcls": 7_994_536,
    "localvim_t_wo_search": 7_994_152,
    "localvim_s": 27_783_784,
    "localvim_s_wo_search": 27_783_784,
}


def figures(model, maps):
    return {f"layer{i}": m for i, m in zip(model.out_indices, maps)}


@pytest.mark.parametrize("case, given", harness.cases(MAPS))
def test_maps(case, given):
    case = recipe.load_case(f"{case}.json")
    model = columns.load(mmmamba.create_backbone(**given), case)
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    maps, found = columns.inside(model, case["input"])
    harness.compare(figures(model, maps), case["outputs"], 1e-4)
    columns.check_inside(case, found)
    for suffix in ("_odd", "_rect"):
        maps = harness.run(model, case[f"input{suffix}"])
        harness.compare(figures(model, maps), case[f"outputs{suffix}"], 1e-4)
    published = mmmamba.create_backbone(**given, columns_as_published=True)
    published.load_state_dict(model.state_dict())
    maps = harness.run(published, case["input_rect"])
    harness.compare(figures(model, maps), case["outputs_rect_as_published"], 1e-4)


@pytest.mark.parametrize("case, given", harness.cases(CLASSIFIERS))
def test_classifier_with_a_class_token(case, given):
    columns.check_classifier(
        recipe.load_case(f"{case}.json"), mmmamba.create_backbone(**given, classifier=True)
    )


@pytest.mark.parametrize("name", CLASSIFIER_PARAMETERS)
def test_classifier_has_the_published_size(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True)
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIER_PARAMETERS[name]


def test_branches_share_no_storage():
    """The original's `A_log_0` … `A_log_3` are one tensor on the CPU until it is moved."""
    mixer = mmmamba.create_backbone("localvim_t").layers[0].mixer
    assert len({p.data_ptr() for p in mixer.each("A_log{}")}) == 4


def test_norms_and_drop_path_are_the_originals():
    """Differences too small for the figures, or seen in training alone."""
    model = mmmamba.create_backbone("localvim_t")
    assert all(
        m.eps == 1e-5
        for m in model.modules()
        if isinstance(m, (torch.nn.RMSNorm, torch.nn.LayerNorm))
    )
    assert columns.rates(model) == pytest.approx([0.0, *torch.linspace(0, 0.1, 20).tolist()])
