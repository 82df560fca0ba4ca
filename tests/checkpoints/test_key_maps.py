"""Which key map a module has, what it does to names and tensors, and what tells files apart."""

import pytest
import torch
from torch import nn

from mmmamba.checkpoints import (
    KEY_MAPS,
    CheckpointError,
    KeyMap,
    PositionGrid,
    Size,
    load_weights,
)
from mmmamba.checkpoints.key_maps import key_map_of, looks_like
from mmmamba.checkpoints.strict_loading import StrictLoading
from mmmamba.models.backbones import MambaVision, MambaYOLOBackbone, VMamba
from mmmamba.models.trunks.base import MambaBackbone

from .files import BUILDERS, another, holds


def test_published_variants_are_named():
    with torch.device("meta"):
        small = VMamba("vmamba_s").state_dict()
        vision = MambaVision("mambavision_s").state_dict()
    assert (
        KEY_MAPS["VMamba"].fingerprint.describe(small)
        == "vmamba_s (blocks 2, 2, 15, 2; widths 96, 192)"
    )
    assert (
        KEY_MAPS["MambaVision"].fingerprint.describe(vision)
        == "mambavision_s (blocks 3, 3, 7, 5; widths 96)"
    )


@pytest.mark.parametrize("family", [VMamba, MambaVision, MambaYOLOBackbone])
def test_every_variant_of_a_family_has_its_fingerprint(family):
    fingerprint = KEY_MAPS[family.__name__].fingerprint
    for name in family.ARCHS:
        with torch.device("meta"):
            state = family(name).state_dict()
        assert name in fingerprint.variants[fingerprint.of(state)].split(" or ")


def test_every_family_here_has_a_key_map_and_a_mark_of_its_own():
    for family in MambaBackbone.families():
        assert family.KEY_MAP is KEY_MAPS[family.__name__]
        theirs = family(**family.TINY).state_dict()
        # The mark of Mamba YOLO is one of its authors' names alone.
        if family is not MambaYOLOBackbone:
            assert looks_like(theirs) == family.__name__
    assert looks_like(["model.1.0.op.A_logs"]) == "MambaYOLO"


def test_a_family_is_known_once_its_class_is_there(monkeypatch):
    monkeypatch.setattr("mmmamba.checkpoints.strict_loading.KEY_MAPS", known := {})
    monkeypatch.setattr("mmmamba.checkpoints.strict_loading.SIZES", sizes := {})
    key_map = KeyMap(renames=((r"^old\.", ""),))

    class Bringing(StrictLoading):
        KEY_MAP = key_map
        SIZES = {"bringing_t": Size("1.0", None)}

    class Inheriting(Bringing):
        pass

    class Without(Bringing):
        KEY_MAP = None

    assert known == {"Bringing": key_map} and list(sizes) == ["Bringing"]
    assert key_map_of(Inheriting()) == ("Bringing", key_map)
    assert key_map_of(Without()) == ("Without", KeyMap(under=("state_dict", "model"), prefixes=()))


def test_family_by_base_class_by_name_and_as_data():
    class Mine(VMamba):
        pass

    theirs = another(BUILDERS["vmamba"]().state_dict())
    mine = Mine(**VMamba.TINY)
    assert load_weights(mine, theirs).family == "VMamba" and holds(mine, theirs)
    linear = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="Did you mean 'VMamba'"):
        load_weights(linear, linear.state_dict(), family="Vmamba")
    old = KeyMap(renames=((r"^old\.", ""),))
    load_weights(linear, {"old.weight": torch.ones(2, 2), "old.bias": torch.ones(2)}, family=old)
    assert linear.weight.eq(1).all()


class Plain(nn.Module):
    """A column with position embeddings of a grid, as Vim has."""

    def __init__(self, height, width, class_token):
        super().__init__()
        self.grid = (height, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, height * width + class_token, 8))


def test_position_embeddings_of_another_grid_are_resized():
    key_map = KeyMap(resize=(("pos_embed", PositionGrid("middle", "grid")),))
    module = Plain(6, 9, class_token=True)
    report = load_weights(
        module, {"model": {"pos_embed": torch.randn(1, 4 * 4 + 1, 8)}}, family=key_map
    )
    assert report.resized == ["pos_embed"] and module.pos_embed.abs().sum() > 0
    with pytest.raises(CheckpointError, match="'pos_embed': .*no square grid"):
        load_weights(module, {"pos_embed": torch.randn(1, 12, 8)}, family=key_map)


class Stacked(nn.Module):
    """Keeps as one parameter `(2, out, in)` what its authors kept as two linear layers."""

    def __init__(self):
        super().__init__()
        self.proj_weight = nn.Parameter(torch.zeros(2, 3, 4))


def stack(state):
    """Their `proj.0.weight` and `proj.1.weight` as one; our own files stay as they are."""
    if "proj_weight" in state:
        return state
    pair = [state.pop(f"proj.{i}.weight") for i in range(2)]
    return {**state, "proj_weight": torch.stack(pair)}


STACKED = KeyMap(renames=((r"^projection\.", "proj."),), convert=stack)


def test_a_module_keeps_its_parameters_stacked_whatever_the_authors_did():
    one, two = torch.rand(3, 4), torch.rand(3, 4)
    module = Stacked()
    file = {"model": {"projection.0.weight": one, "projection.1.weight": two}}
    report = load_weights(module, file, family=STACKED)
    assert torch.equal(module.proj_weight, torch.stack([one, two]))
    assert report.matched == ["proj_weight"] and not report.missing and not report.unexpected
    again = Stacked()
    load_weights(again, module.state_dict(), family=STACKED)
    assert torch.equal(again.proj_weight, module.proj_weight)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({}, "KeyError: .*proj.1.weight"),
        ({"projection.1.weight": torch.rand(5, 4)}, "RuntimeError"),
    ],
)
def test_what_cannot_be_converted_names_family_and_file(tmp_path, second, reason):
    module = Stacked()
    torch.save({"projection.0.weight": torch.rand(3, 4), **second}, tmp_path / "file.pth")
    with pytest.raises(
        CheckpointError, match=f"file.pth cannot be converted to the layout of Stacked .{reason}"
    ):
        load_weights(module, tmp_path / "file.pth", family=STACKED)
    assert module.proj_weight.eq(0).all()


class Unpublished(nn.Module):
    """A module without a key map, one of whose parts is called as wrappers are."""

    def __init__(self):
        super().__init__()
        self.model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "norm": nn.BatchNorm1d(2)})


@pytest.mark.parametrize("wrapper", ["model", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_without_a_key_map_files_have_the_modules_own_layout(wrapper, prefix):
    theirs = another(Unpublished().state_dict())
    file = {prefix + name: tensor for name, tensor in theirs.items()}
    if prefix == "backbone.":
        file["neck.w"] = torch.ones(1)
    module = Unpublished()
    report = load_weights(module, {wrapper: file} if wrapper else file)
    assert holds(module, theirs)
    assert report.family == "Unpublished" and report.matched == list(theirs)
    assert not report.missing and not report.unexpected


def test_a_module_with_a_backbone_of_its_own_is_loaded_whole():
    module = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    theirs = another(module.state_dict())
    load_weights(module, theirs)
    assert holds(module, theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.norm.bias"), "1 of 7 tensors are not in the file: model"),
        (lambda state: state.update(stray=torch.ones(1)), "have no place: stray"),
        (lambda state: state.update({"model.norm.bias": torch.ones(3)}), "have another shape"),
        (lambda state: state.update({"model.norm.bias": torch.full((2,), torch.nan)}), "hold NaN"),
    ],
)
def test_own_layouts_are_loaded_as_strictly(change, message):
    module = Unpublished()
    before, file = another(module.state_dict(), seed=1), another(module.state_dict())
    module.load_state_dict(before)
    change(file)
    with pytest.raises(CheckpointError, match=f"does not fit this Unpublished(?s:.*){message}"):
        load_weights(module, file)
    assert holds(module, before)
