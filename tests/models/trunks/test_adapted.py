"""A column within an adapter: the contract of every backbone, and what it promises beyond."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from mmmamba.layers import BidirectionalMixer, PatchEmbed, TokenEmbedding
from mmmamba.layers.deformable_attention import DeformableAttention
from mmmamba.layers.vit_adapter import Extractor
from mmmamba.models.backbones.plain_mamba import PlainMamba
from mmmamba.models.trunks.adapted import AdaptedArch, AdaptedBackbone
from mmmamba.models.trunks.stream import Stream, StreamArch, StreamBackbone, stream_norm
from tests.acceleration import test_fusing

from .. import test_backbone_contract as contract
from .. import test_with_cp

ADAPTER = dict(adapter=True, conv_inplane=8, deform_num_heads=2, n_points=2)


def awake(model: nn.Module) -> nn.Module:
    """The model with an adapter at work: as constructed it adds nothing and asks no query."""
    for name, p in model.named_parameters():
        if name.endswith("injector.gamma"):
            nn.init.constant_(p, 0.5)
        if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
            nn.init.normal_(p, std=0.5)
    return model


class AdaptedMaps(PlainMamba):
    """A column of blocks on maps."""

    TINY = dict(arch=dict(PlainMamba.TINY["arch"], depth=2, **ADAPTER))

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        awake(self)


@dataclass(frozen=True, kw_only=True)
class StreamedArch(AdaptedArch, StreamArch):
    depth: int = 2


class AdaptedStream(AdaptedBackbone, StreamBackbone):
    """A column on a residual stream, with a class token in the middle, as Vim's."""

    Arch = StreamedArch
    TINY = dict(arch=dict(embed_dims=16, d_state=4, img_size=64, **ADAPTER))

    def build(self, a: StreamedArch, in_channels: int) -> Stream:
        patch_embed = PatchEmbed(in_channels, a.embed_dims, a.patch_size, a.patch_size)
        return Stream(
            patch_embed=patch_embed,
            tokens=TokenEmbedding(a.embed_dims, patch_embed.grid_size(*a.img_sides), "middle"),
            stride=a.patch_size,
            blocks=[BidirectionalMixer(a.embed_dims, d_state=4) for _ in range(a.depth)],
            norm=stream_norm("layer"),
            rotary="computed",
        )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        awake(self)


MEMBERS = (AdaptedMaps, AdaptedStream)
members = pytest.mark.parametrize("family", [f.__name__ for f in MEMBERS])


@pytest.fixture(autouse=True)
def among_the_families(monkeypatch):
    for family in MEMBERS:
        for module in (contract, test_with_cp):
            monkeypatch.setitem(module.FAMILIES, family.__name__, family)


@members
@pytest.mark.parametrize(
    "promise",
    [
        contract.test_every_parameter_learns,
        contract.test_maps_are_contiguous_where_that_is_asked_for,
        contract.test_batch_members_do_not_touch,
        contract.test_memory_format_does_not_matter,
        contract.test_checkpointing_changes_nothing,
        contract.test_frozen_stages_stay_frozen,
        contract.test_norm_eval,
        contract.test_bfloat16_is_close,
        contract.test_out_indices,
        contract.test_nothing_is_built_that_no_map_needs,
        contract.test_classifier,
    ],
    ids=lambda promise: promise.__name__.removeprefix("test_"),
)
def test_contract(family, promise):
    promise(family)


@members
@pytest.mark.parametrize("size", [(64, 64), (97, 131), (203, 70), (5, 40)])
def test_shapes_and_strides(family, size):
    contract.test_shapes_and_strides(family, size)


@members
def test_copies_and_files(family, tmp_path):
    contract.test_copies_and_files(family, tmp_path)


@pytest.mark.slow
@members
def test_compiles(family):
    contract.test_compiles(family)


@members
@pytest.mark.parametrize("read", range(4))
def test_an_unread_map_changes_no_gradient(family, read):
    found = []
    for weight in (None, 0.0):
        model = contract.tiny(family).train()
        torch.manual_seed(0)
        maps = model(contract.image())
        total = contract.loss(maps[read : read + 1])
        if weight is not None:
            total = total + sum(weight * m.sum() for i, m in enumerate(maps) if i != read)
        total.backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    for name, grad in found[0].items():
        assert grad is not None, name
        atol = 1e-4 * float(found[1][name].abs().max()) + 1e-7
        torch.testing.assert_close(grad, found[1][name], rtol=1e-4, atol=atol)


@members
def test_an_odd_image_is_the_filled_one_cut(family):
    model = contract.tiny(family).eval()
    x = contract.image(97, 131, batch=1)
    with torch.no_grad():
        maps, filled = model(x), model(nn.functional.pad(x, (0, 29, 0, 31)))
    for m, whole, stride in zip(maps, filled, model.out_strides, strict=True):
        H, W = -(-97 // stride), -(-131 // stride)
        assert m.shape[2:] == (H, W) and torch.equal(m, whole[:, :, :H, :W])
        assert m.is_contiguous(memory_format=torch.channels_last)


@members
def test_recomputation(family):
    test_with_cp.test_a_step_is_the_same_bit_for_bit(family)
    assert test_with_cp.kept(family, True) < 0.7 * test_with_cp.kept(family, False)


def test_a_classifiers_file_leaves_the_adapter_as_it_is():
    model = PlainMamba(**AdaptedMaps.TINY)
    column = PlainMamba(**PlainMamba.TINY, depth=2).state_dict()
    report = model.load_weights({f"backbone.{name}": p for name, p in column.items()})
    parts = {name.split(".")[0] for name in report.missing}
    assert parts == {
        "level_embed",
        "spm",
        "interactions",
        "up",
        *(f"ad_norm{i}" for i in range(1, 5)),
    }
    assert torch.equal(model.layers[1].op.A_log, column["layers.1.op.A_log"])


def test_an_adapters_names_in_published_files():
    """Steps of its convolutions are counted one by one there."""
    model = PlainMamba(**AdaptedMaps.TINY)
    theirs = {}
    for name, p in model.state_dict().items():
        if found := re.match(r"spm\.stem\.(\d)\.(conv|norm)\.(.+)", name):
            step = 3 * int(found[1]) + (found[2] == "norm")
            name = f"spm.stem.{step}.{found[3]}"
        name = re.sub(r"^(spm\.conv\d)\.conv\.", r"\1.0.", name)
        name = re.sub(r"^(spm\.conv\d)\.norm\.", r"\1.1.", name)
        theirs[name.replace(".ffn.dwconv.", ".ffn.dwconv.dwconv.")] = p
    other = PlainMamba(**AdaptedMaps.TINY)
    assert not other.load_weights(theirs).missing
    assert not other.load_weights(model.state_dict()).missing


def test_a_new_adapter_leaves_the_column_as_it_is():
    """The column's last map reaches stride 16 through nothing but its norm and the extractors."""
    model = PlainMamba(**AdaptedMaps.TINY, out_indices=(2,)).eval()
    column = PlainMamba(**PlainMamba.TINY, depth=2, out_indices=(1,)).eval()
    left = column.load_state_dict(model.state_dict(), strict=False)
    assert set(left.missing_keys) == {"ln1.weight", "ln1.bias"}
    seen = []
    model.interactions[-1].extractor.register_forward_pre_hook(
        lambda module, given: seen.append(given[1])
    )
    column.ln1 = nn.Identity()
    with torch.no_grad():
        x = contract.image()
        model(x)
        (want,) = column(x)
    torch.testing.assert_close(seen[0], want.flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="leave pyramid out"):
        PlainMamba(**AdaptedMaps.TINY, pyramid=True)
    with pytest.raises(ValueError, match="deform_num_heads is 3, wanted a divisor of the width 16"):
        PlainMamba(**AdaptedMaps.TINY, deform_num_heads=3)
    with pytest.raises(ValueError, match=r"wanted ascending stages of 0 … 3"):
        PlainMamba(**AdaptedMaps.TINY, out_indices=(5, 11))


def test_another_backbones_config_takes_it():
    from mmmamba.models.drop_in.levels import trunk_of

    trunk = trunk_of("plainmamba_l1_det")
    assert [level.stride for level in trunk.levels] == [4, 8, 16, 32] and not trunk.plain
    assert trunk_of("plainmamba_l1").plain


@members
def test_fused(family):
    model = test_fusing.settled(contract.tiny(family))
    fused = test_fusing.fuse(model)
    assert isinstance(fused.spm.conv2.norm, nn.Identity)
    test_fusing.check(model, fused)


def test_what_it_offers():
    model = PlainMamba(**AdaptedMaps.TINY)
    assert model.offered() == {4: 16, 8: 16, 16: 16, 32: 16}
    assert model.asking_for((8, 32)) == dict(out_indices=(1, 3))
    column = PlainMamba(**PlainMamba.TINY)
    assert column.asking_for((8, 32)) == dict(out_indices=(2, 3), pyramid=(8, 32))


def test_norms_drop_path_and_start_are_the_originals():
    model = PlainMamba("plainmamba_l1_det", drop_path_rate=0.3)
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            assert module.eps == (1e-6 if name.startswith("interactions") else 1e-5), name
        if isinstance(module, Extractor):
            assert module.drop_path.p == 0.3
        if isinstance(module, DeformableAttention):
            bias = module.sampling_offsets.bias.view(6, module.maps, 4, 2)
            assert not module.attention_weights.weight.any()
            assert not module.sampling_offsets.weight.any()
            # One head to the right, and of the next the longer side is a cell.
            torch.testing.assert_close(bias[0, 0, 2], torch.tensor([3.0, 0.0]))
            torch.testing.assert_close(bias[1, 0, 1].abs().amax(), torch.tensor(2.0))
    assert not any(one.injector.gamma.any() for one in model.interactions)
    assert [len(one.extractors) for one in model.interactions] == [1, 1, 1, 3]
    assert model.group_ends == [6, 12, 18, 24]
    assert abs(float(model.spm.conv3.conv.weight.detach().std()) - (2 / (9 * 256)) ** 0.5) < 1e-3
