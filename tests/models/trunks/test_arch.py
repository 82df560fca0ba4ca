"""A family's arguments are said once, in its dataclass: constructor and checks follow from it."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass

import pytest
import torch
from mmengine.config import Config

from mmmamba.config.keys import unknown_keys
from mmmamba.config.signatures import constructor_arguments
from mmmamba.models.backbones import LocalVMamba, MambaVision, MobileMamba, VMamba
from mmmamba.models.backbones.vmamba import VMambaArch
from mmmamba.models.trunks.arch import choose
from mmmamba.models.trunks.base import COMMON, MambaBackbone
from mmmamba.suggest import RENAMED, did_you_mean

FAMILIES = {family.__name__: family for family in MambaBackbone.families()}
every_family = pytest.mark.parametrize("family", FAMILIES)


def fields(family: type[MambaBackbone]) -> set[str]:
    return {field.name for field in dataclasses.fields(family.Arch)}


def same(model: MambaBackbone, other: MambaBackbone) -> bool:
    states = model.state_dict(), other.state_dict()
    return [(n, v.shape) for n, v in states[0].items()] == [
        (n, v.shape) for n, v in states[1].items()
    ]


@every_family
def test_the_signature_names_every_argument(family: str) -> None:
    parameters = inspect.signature(FAMILIES[family]).parameters
    assert set(parameters) == {*COMMON, *fields(FAMILIES[family])}
    assert parameters["arch"].default == next(iter(FAMILIES[family].ARCHS))
    assert all(parameters[name].default is None for name in fields(FAMILIES[family]))


@every_family
def test_configs_are_checked_by_every_argument(family: str) -> None:
    assert constructor_arguments(family, "mmdet") == {*COMMON, *fields(FAMILIES[family])}


@every_family
def test_width_and_routes_have_one_name(family: str) -> None:
    assert "embed_dims" in fields(FAMILIES[family])
    assert not fields(FAMILIES[family]) & set(RENAMED)


@pytest.mark.parametrize(
    "family, old, new",
    [
        (MambaVision, "dim", "embed_dims"),
        (MambaVision, "in_dim", "stem_dims"),
        (LocalVMamba, "directions", "routes"),
    ],
)
def test_an_old_name_is_told_its_new_one(family: type[MambaBackbone], old: str, new: str) -> None:
    message = f"'{old}' is called '{new}'"
    with pytest.raises(TypeError, match=message):
        family(**{old: 8})
    with pytest.raises(ValueError, match=message):
        family(arch={old: 8})
    cfg = Config(dict(model=dict(backbone=dict({old: 8}, type=family.__name__))))
    (unknown,) = unknown_keys(cfg)
    assert unknown.keys == ("model", "backbone", old)
    assert message in did_you_mean(old, unknown.known, 3)


def test_a_variant_is_changed_by_name_by_dict_and_as_a_whole() -> None:
    with torch.device("meta"):
        by_name = VMamba("vmamba_t", depths=(1, 1, 2, 1), embed_dims=16)
        by_dict = VMamba(dict(embed_dims=16, ssm_ratio=1.0), depths=(1, 1, 2, 1))
        whole = VMambaArch(embed_dims=16, depths=(1, 1, 1, 1), ssm_ratio=1.0)
        assert same(by_name, by_dict)
        assert same(by_name, VMamba(whole, depths=(1, 1, 2, 1)))
        assert same(VMamba(), VMamba("vmamba_t", depths=None))


def test_none_leaves_what_the_variant_has() -> None:
    large = MambaVision.ARCHS["mambavision_l"]
    given = ("MambaVision", MambaVision.Arch, MambaVision.ARCHS, "mambavision_l")
    assert choose(*given, dict(layer_scale=None, drop_path_rate=None)) == large
    assert choose(*given, dict(layer_scale=0.1)) == dataclasses.replace(large, layer_scale=0.1)


def test_what_an_arch_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="arch of MambaVision lacks depths, stem_dims, num_heads"):
        MambaVision(arch=dict(embed_dims=8, window_size=(1, 1, 1, 1)))
    with pytest.raises(TypeError, match="is a VMambaArch, wanted a name, a dict or a MobileMamba"):
        MobileMamba(VMamba.ARCHS["vmamba_t"])


def test_a_subclass_adds_a_choice_and_keeps_the_others() -> None:
    @dataclass(frozen=True, kw_only=True)
    class NarrowArch(VMambaArch):
        narrow: bool = False

    class Narrow(VMamba):
        Arch = NarrowArch
        ARCHS = dict(narrow_t=NarrowArch(embed_dims=32, depths=(1, 1, 1, 1), narrow=True))

        def build(self, a: NarrowArch, in_channels: int):
            self.narrow = a.narrow
            return super().build(a, in_channels)

    class Own(VMamba):
        def __init__(self, arch: str, name: str, **rest):
            super().__init__(arch, **rest)
            self.name = name

    with torch.device("meta"):
        assert Narrow().narrow and not Narrow(narrow=False, out_indices=(0,)).narrow
        assert Own("vmamba_t", "mine", out_indices=(3,)).out_indices == (3,)
        with pytest.raises(TypeError, match="Own has no argument 'narow'"):
            Own("vmamba_t", "mine", narow=True)
