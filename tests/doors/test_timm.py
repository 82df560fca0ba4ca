"""What timm promises of its models, kept by every family through a tiny variant."""

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import mmmamba
from mmmamba.checkpoints import CheckpointError
from mmmamba.errors import UsageError
from mmmamba.models.trunks.base import MambaBackbone

timm = pytest.importorskip("timm")
from timm.data import resolve_model_data_config
from timm.models import group_parameters
from timm.optim import create_optimizer_v2

import mmmamba.timm

FAMILIES = {family.__name__: family for family in MambaBackbone.families() if family.ARCHS}
every_family = pytest.mark.parametrize("family", FAMILIES)
SMALL = dict(embed_dims=16, depths=(1, 1, 1, 1))
IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def tiny(family: str, **arguments) -> nn.Module:
    torch.manual_seed(0)
    first = next(iter(FAMILIES[family].ARCHS))
    fields = dict(FAMILIES[family].TINY)
    return timm.create_model(f"mmmamba_{first}", **fields.pop("arch"), **fields, **arguments)


def small(**arguments) -> nn.Module:
    return timm.create_model("mmmamba_vmamba_t", **SMALL, **arguments)


def as_tuple(one_or_more) -> tuple:
    return one_or_more if isinstance(one_or_more, tuple) else (one_or_more,)


@every_family
@torch.no_grad()
def test_a_classifier_is_features_and_a_head(family):
    model = tiny(family, num_classes=7).eval()
    assert as_tuple(model.get_classifier())[0].out_features == 7 == model.num_classes
    logits, features = model(IMAGE), model.forward_features(IMAGE)
    assert features.shape[1 if features.dim() == 4 else 2] == model.num_features
    torch.testing.assert_close(model.forward_head(features), logits)
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)

    model.reset_classifier(0)
    torch.testing.assert_close(model(IMAGE), pooled)
    model.reset_classifier(0, "")
    assert model(IMAGE).shape == features.shape
    model.reset_classifier(3)
    assert model(IMAGE).shape == (2, 3)


@every_family
def test_what_timm_reads_of_a_model_is_there(family):
    model = tiny(family, in_chans=4)
    modules, names = dict(model.named_modules()), set(dict(model.named_parameters()))
    for name in as_tuple(model.default_cfg["classifier"]):
        assert isinstance(modules[name], nn.Linear)
    assert modules[model.default_cfg["first_conv"]].in_channels == 4
    assert model.no_weight_decay() < names
    for coarse in (False, True):
        groups = group_parameters(model, model.group_matcher(coarse=coarse))
        assert set().union(*groups.values()) == names
        assert len(groups) > 3 and all("head" not in name for name in groups[0])


@every_family
def test_gradients_reach_everything_and_are_finite(family):
    model = tiny(family, num_classes=3).train()
    model.set_grad_checkpointing()
    model(IMAGE).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@every_family
@torch.no_grad()
def test_maps_are_those_of_the_backbone(family):
    net = tiny(family, features_only=True, out_indices=2).eval()
    maps = net(IMAGE)
    assert isinstance(maps, list) and len(maps) == 2
    assert [m.shape[1] for m in maps] == net.feature_info.channels()
    assert [64 // m.shape[2] for m in maps] == net.feature_info.reduction()
    ours = FAMILIES[family](
        next(iter(FAMILIES[family].ARCHS)),
        out_indices=net.out_indices,
        **FAMILIES[family].TINY["arch"],
        **{key: value for key, value in FAMILIES[family].TINY.items() if key != "arch"},
    ).eval()
    ours.load_state_dict(net.model.state_dict())
    for got, want in zip(maps, ours(IMAGE), strict=True):
        assert torch.equal(got, want)


def test_names_are_those_of_the_factory():
    names = {f"mmmamba_{name}" for name in mmmamba.list_backbones()}
    assert set(timm.list_models("mmmamba_*")) == names
    assert "mmmamba_vmamba_t" in timm.list_models("mmmamba_*", pretrained=True)
    cfg = timm.get_pretrained_cfg("mmmamba_mambavision_l2_512_21k")
    assert cfg.input_size == (3, 512, 512) and cfg.url.startswith("https://")
    assert resolve_model_data_config(small())["crop_pct"] == 0.875


@pytest.mark.slow
@pytest.mark.parametrize("name", mmmamba.list_backbones())
def test_every_name_makes_a_classifier_and_maps(name):
    with torch.device("meta"):
        model = timm.create_model(f"mmmamba_{name}", num_classes=5, drop_path_rate=0.1)
        net = timm.create_model(f"mmmamba_{name}", features_only=True)
    modules = dict(model.named_modules())
    assert all(modules[one].out_features == 5 for one in as_tuple(model.default_cfg["classifier"]))
    assert isinstance(modules[model.default_cfg["first_conv"]], nn.Conv2d)
    assert net.feature_info.channels() == net.model.out_channels
    assert net.feature_info.reduction() == net.model.out_strides


@torch.no_grad()
def test_a_file_gives_the_weights(tmp_path: Path):
    ours = mmmamba.create_backbone("vmamba_t", **SMALL, classifier=True, num_classes=3).eval()
    file = tmp_path / "mine.pth"
    torch.save(dict(model=ours.state_dict()), file)

    for arguments in (
        dict(checkpoint_path=str(file)),
        dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(file))),
        dict(pretrained=True, pretrained_cfg_overlay=dict(state_dict=ours.state_dict())),
    ):
        assert torch.equal(small(num_classes=3, **arguments).eval()(IMAGE), ours(IMAGE))

    overlay = dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(file), num_classes=3))
    blocks = ours.layers[0].blocks.state_dict()
    for arguments in (dict(num_classes=5), dict(num_classes=0), dict(in_chans=1, num_classes=3)):
        found = small(**overlay, **arguments).layers[0].blocks.state_dict()
        assert all(torch.equal(found[name], blocks[name]) for name in blocks)
    net = small(**overlay, features_only=True, out_indices=(0, 1))
    assert torch.equal(net.model.layers[0].blocks[0].norm.weight, blocks["0.norm.weight"])

    # A head of other classes is left as it is only where the file is said to have others.
    with pytest.raises(CheckpointError, match="another shape"):
        small(pretrained=True, pretrained_cfg_overlay=dict(file=str(file)))


@torch.no_grad()
def test_copies_and_files():
    model = small(num_classes=3).eval()
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = small(num_classes=3).eval()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for one in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(one(IMAGE), model(IMAGE))


def test_a_column_counts_blocks_and_makes_a_pyramid():
    arguments = dict(embed_dims=32, depth=4, img_size=64)
    net = timm.create_model(
        "mmmamba_vim_t", features_only=True, pyramid=True, out_indices=(0, 1, 2, 3), **arguments
    )
    assert net.feature_info.reduction() == [4, 8, 16, 32]
    assert [64 // m.shape[2] for m in net(IMAGE)] == [4, 8, 16, 32]


def test_layers_learn_at_rates_of_their_own():
    optimizer = create_optimizer_v2(small(), "adamw", lr=1.0, weight_decay=0.1, layer_decay=0.5)
    scales = {group["lr_scale"] for group in optimizer.param_groups}
    assert len(scales) > 4 and max(scales) == 1.0


@pytest.mark.parametrize(
    "arguments, told",
    [
        (dict(drop_rate=0.1), "drop_path_rate"),
        (dict(global_pool="max"), "pools in its own way"),
        (dict(global_pool=""), "num_classes=0"),
        (dict(out_indices=(0,)), "features_only=True"),
        (dict(features_only=True, feature_cls="hook"), "getter"),
    ],
)
def test_what_no_family_has_is_refused(arguments, told):
    with pytest.raises(UsageError, match=told):
        small(**arguments)


def test_maps_of_a_classifier_are_refused():
    with pytest.raises(UsageError, match="features_only=True"):
        small().forward_intermediates(IMAGE)
    with pytest.raises(UsageError, match="built for others"):
        small(features_only=True, out_indices=(2, 3)).model.prune_intermediate_layers((0,))
