"""Vim-F computes what its authors computed."""

import pytest
import torch

import mmmamba

from . import columns, harness, recipe

CASES = {
    "vim_f/vim_f_tiny": "vim_f_t",
    "vim_f/vim_f_small": "vim_f_s",
    "vim_f/vim_f_tiny_stride8": "vim_f_t_stride8",
    "vim_f/vim_f_v1_tiny": "vim_f_v1_t",
    "vim_f/vim_f_v1_small": "vim_f_v1_s",
}


@pytest.mark.parametrize("case, name", harness.cases(CASES))
def test_classifier(case, name):
    case = recipe.load_case(f"{case}.json")
    model = mmmamba.create_backbone(name, classifier=True)
    columns.check_classifier(case, model)
    if "input_odd" in case:
        columns.check_other_input(case, model, "odd")
    if "input_pair" in case:
        # As published each image gets another's spectrum: the figures of the two one by one.
        columns.check_other_input(case, model, "pair", "pair_alone")


@pytest.mark.parametrize("features, theirs", [("stream", "stream"), ("mixer", "hidden")])
def test_maps_without_the_class_token(features, theirs):
    case = recipe.load_case("vim_f/vim_f_v1_tiny.json")
    model = columns.load(mmmamba.create_backbone("vim_f_v1_t", features=features), case)
    maps = harness.run(model, case["input_odd"])
    names = [f"{theirs}{i}" for i in model.out_indices]
    harness.compare(dict(zip(names, maps)), {n: case["outputs_odd"][n] for n in names}, 1e-4)


def test_a_file_with_positions_is_taken_where_that_is_said():
    """The file of `vim_f_v1_s` may hold them; which code it was saved by is not known."""
    given = mmmamba.models.backbones.VimF.TINY | dict(img_size=64)
    build = mmmamba.models.backbones.VimF
    theirs = build(**given, abs_pos_embed=True, classifier=True).state_dict()
    theirs["pos_embed"] = theirs.pop("tokens.pos_embed")
    with pytest.raises(mmmamba.checkpoints.CheckpointError, match=r"tokens\.pos_embed"):
        build(**given).load_weights(theirs)
    model = build(**given, abs_pos_embed=True)
    model.load_weights(theirs)
    assert torch.equal(model.tokens.pos_embed, theirs["pos_embed"])


def test_norms_and_drop_path_are_the_originals():
    """Differences too small for the figures, or seen in training alone."""
    with torch.device("meta"):
        model = mmmamba.create_backbone("vim_f_s", classifier=True, drop_path_rate=0.23)
    assert all(m.eps == 1e-5 for m in model.modules() if isinstance(m, torch.nn.RMSNorm))
    stem = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(stem) == 3 and all(m.eps == 1e-6 for m in stem)
    gelus = [m for m in model.modules() if isinstance(m, torch.nn.GELU)]
    assert len(gelus) == 2 and all(m.approximate == "none" for m in gelus)
    wanted = [0.0, *torch.linspace(0, 0.23, 24).tolist()]
    assert columns.rates(model) == pytest.approx(wanted)
