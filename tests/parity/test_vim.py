"""Vim computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import columns, harness, recipe

CLASSIFIERS = {
    "vim/vim_tiny": dict(name="vim_t"),
    "vim/vim_small": dict(name="vim_s"),
    "vim/vim_base": dict(name="vim_b"),
    "vim/vim_tiny_stride8": dict(name="vim_t_stride8"),
    "vim/vim_tiny_rect": dict(name="vim_t", img_size=(200, 168)),
}
MAPS = {case: CLASSIFIERS[case] for case in ("vim/vim_tiny", "vim/vim_tiny_rect")}
SEGMENTATION = {"vim/vim_tiny_seg": "vim_t_seg", "vim/vim_small_seg": "vim_s_seg"}
DETECTION = {"vim/vim_tiny_det": "vim_t_det", "vim/vim_small_det": "vim_s_det"}


@pytest.mark.parametrize("case, given", harness.cases(CLASSIFIERS))
def test_classifier(case, given):
    columns.check_classifier(
        recipe.load_case(f"{case}.json"), mmmamba.create_backbone(**given, classifier=True)
    )


@pytest.mark.parametrize("features, theirs", [("stream", "stream"), ("mixer", "hidden")])
@pytest.mark.parametrize("case, given", harness.cases(MAPS))
def test_maps_of_the_classifiers_column(case, given, features, theirs):
    case = recipe.load_case(f"{case}.json")
    model = columns.load(mmmamba.create_backbone(**given, features=features), case)
    assert model.out_indices == (5, 11, 17, 23)
    maps = harness.run(model, case["input"])
    names = [f"{theirs}{i}" for i in model.out_indices]
    harness.compare(dict(zip(names, maps)), {n: case["outputs"][n] for n in names}, 1e-4)


@pytest.mark.parametrize("case, name", harness.cases(SEGMENTATION))
def test_segmentation(case, name):
    case = recipe.load_case(f"{case}.json")
    model = columns.load(mmmamba.create_backbone(name, img_size=224), case)
    unused = case["state_dict"]["norm_f.weight"][0]
    assert sum(p.numel() for p in model.parameters()) == case["parameters"] - unused
    levels, found = columns.inside(model, case["input"])
    harness.compare({f"level{i}": level for i, level in enumerate(levels)}, case["outputs"], 1e-4)
    columns.check_inside(case, found)
    # Theirs is built anew for the other size; ours resizes positions and rotary table as it goes.
    levels = harness.run(model, case["input_odd"])
    harness.compare(
        {f"level{i}": level for i, level in enumerate(levels)}, case["outputs_odd"], 1e-4
    )


@pytest.mark.parametrize("case, name", harness.cases(DETECTION))
def test_detection(case, name):
    case = recipe.load_case(f"{case}.json")
    model = columns.load(mmmamba.create_backbone(name, img_size=224, out_indices=(23,)), case)
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    (last,), found = columns.inside(model, case["input"])
    harness.compare({"last_feat": last}, case["outputs"], 1e-4)
    columns.check_inside(case, found)
    harness.compare(
        {"last_feat": harness.run(model, case["input_odd"])[0]}, case["outputs_odd"], 1e-4
    )


def test_norms_and_drop_path_are_the_originals():
    """Differences too small for the figures, or seen in training alone."""
    model = mmmamba.create_backbone("vim_t", classifier=True, drop_path_rate=0.23)
    assert all(m.eps == 1e-5 for m in model.modules() if isinstance(m, torch.nn.RMSNorm))
    wanted = [0.0, *torch.linspace(0, 0.23, 24).tolist()]
    assert columns.rates(model) == pytest.approx(wanted)
