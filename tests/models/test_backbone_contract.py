"""What every registered backbone promises, swept through a tiny variant of each family."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import mmmamba
from mmmamba.models.trunks.base import MambaBackbone
from mmmamba.ops.selective_scan import ENVIRONMENT, why_not
from mmmamba.ops.selective_scan.dispatch import BACKENDS

FAMILIES = {family.__name__: family for family in MambaBackbone.families()}
every_family = pytest.mark.parametrize("family", FAMILIES)
VARIED = ("VMamba", "MambaVision", "VSSD", "Vim", "MambaYOLOBackbone")
"""Families unlike each other: a compiler takes a CPU five seconds each."""


def tiny(family: str, **overrides) -> MambaBackbone:
    torch.manual_seed(0)
    return FAMILIES[family](**FAMILIES[family].TINY | overrides)


def image(height=64, width=64, batch=2, **kwargs) -> torch.Tensor:
    return torch.randn(
        batch, 3, height, width, generator=torch.Generator().manual_seed(0), **kwargs
    )


def loss(maps) -> torch.Tensor:
    """A sum in which every value counts differently."""
    total = 0
    for m in maps:
        weight = torch.randn(m.shape, generator=torch.Generator().manual_seed(1))
        total = total + (m.float() * weight).sum()
    return total


def assert_same(got, want, tolerance=0.0):
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert a.shape == b.shape
        assert (a.float() - b.float()).abs().max() <= tolerance * b.float().std() + 1e-12


@every_family
@pytest.mark.parametrize("size", [(64, 64), (97, 131), (203, 70)])
def test_shapes_and_strides(family, size):
    model = tiny(family).eval()
    with torch.no_grad():
        maps = model(image(*size, batch=1))
    assert isinstance(maps, tuple) and len(maps) == len(model.out_channels) == len(
        model.out_strides
    )
    for m, channels, stride in zip(maps, model.out_channels, model.out_strides):
        assert m.shape[:2] == (1, channels) and torch.isfinite(m).all()
        for side, pixels in zip(m.shape[2:], size):
            assert pixels // stride <= side <= -(-pixels // stride) + 1


@every_family
def test_every_parameter_learns(family):
    model = tiny(family).train()
    # A scan of one position forgets nothing: the last map needs two.
    side = max(64, 2 * max(model.out_strides))
    loss(model(image(side, side))).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle, f"no gradient reaches {idle}"


@every_family
def test_maps_are_contiguous_where_that_is_asked_for(family):
    with torch.no_grad():
        plain, copied = (
            tiny(family, contiguous_maps=given).eval()(image()) for given in (False, True)
        )
    assert_same(copied, plain)
    assert all(m.is_contiguous() for m in copied)


@every_family
def test_batch_members_do_not_touch(family):
    model = tiny(family).eval()
    with torch.no_grad():
        together, alone = model(image()), model(image()[:1])
    assert_same([m[:1] for m in together], alone, 1e-4)


@every_family
def test_memory_format_does_not_matter(family):
    model = tiny(family).eval()
    with torch.no_grad():
        assert_same(model(image().to(memory_format=torch.channels_last)), model(image()), 1e-5)


@every_family
def test_checkpointing_changes_nothing(family):
    grads, maps = [], []
    for with_cp in (False, True):
        model = tiny(family, with_cp=with_cp, drop_path_rate=0.0).train()
        x = image().requires_grad_()
        maps.append(model(x))
        loss(maps[-1]).backward()
        grads.append([x.grad, *(p.grad for p in model.parameters())])
    assert_same(maps[1], maps[0])
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()) + 1e-8)


@every_family
@pytest.mark.parametrize(
    "backend", [n for n in BACKENDS if why_not(n, torch.device("cpu")) is None and n != "triton"]
)
def test_backends_agree(family, backend, monkeypatch):
    model = tiny(family).eval()
    with torch.no_grad():
        monkeypatch.delenv(ENVIRONMENT, raising=False)
        want = model(image(48, 64, batch=1))
        monkeypatch.setenv(ENVIRONMENT, backend)
        assert_same(model(image(48, 64, batch=1)), want, 1e-4)


@every_family
def test_frozen_stages_stay_frozen(family):
    for stages in range(-1, len(tiny(family)._parts())):
        model = tiny(family, frozen_stages=stages)
        model.train()
        parts = model._parts()
        frozen = {id(p) for part in parts[: stages + 1] for m in part for p in m.parameters()}
        for name, p in model.named_parameters():
            assert p.requires_grad == (id(p) not in frozen), name
        assert not any(m.training for part in parts[: stages + 1] for m in part)
    before = copy.deepcopy(dict(tiny(family, frozen_stages=1).state_dict()))
    model = tiny(family, frozen_stages=1).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    loss(model(image())).backward()
    optimizer.step()
    for part in model._parts()[:2]:
        for module in part:
            prefix = next(name for name, m in model.named_modules() if m is module)
            for key, value in module.state_dict().items():
                assert torch.equal(value, before[f"{prefix}.{key}"]), f"{prefix}.{key} moved"
    with pytest.raises(ValueError, match="frozen_stages"):
        tiny(family, frozen_stages=99)


@every_family
def test_norm_eval(family):
    for module in tiny(family, norm_eval=True).train().modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert not module.training


@every_family
def test_copies_and_files(family, tmp_path):
    model = tiny(family).eval()
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    with torch.no_grad():
        want = model(image())
        assert_same(copy.deepcopy(model)(image()), want)
        assert_same(pickle.loads(pickle.dumps(model))(image()), want)
        other = tiny(family).eval()
        for p in other.parameters():
            p.zero_()
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert_same(other(image()), want)


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in VARIED else pytest.mark.slow) for name in FAMILIES],
)
def test_compiles(family):
    # Each family is one more class that a trunk's `forward` is compiled for, of eight at most.
    torch._dynamo.reset()
    model = tiny(family).eval()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert_same(compiled(image()), model(image()), 1e-4)


@every_family
def test_bfloat16_is_close(family):
    model = tiny(family).eval()
    with torch.no_grad():
        want = model(image())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = model(image())
    for a, b in zip(got, want):
        assert torch.isfinite(a).all()
        assert (a.float() - b).pow(2).mean().sqrt() < 0.06 * b.std()


@every_family
def test_out_indices(family):
    full = tiny(family)
    chosen = full.out_indices[1::2] or full.out_indices[:1]
    model = tiny(family, out_indices=chosen).eval()
    state = full.state_dict()
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    # With or without gradients a CPU takes other products, of other last bits.
    with torch.no_grad():
        maps = model(image())
        want = full.eval()(image())
    assert len(maps) == len(chosen) == len(model.out_channels)
    assert_same(maps, [m for i, m in zip(full.out_indices, want) if i in chosen])
    with pytest.raises(ValueError, match="out_indices"):
        tiny(family, out_indices=(0, 99))


@every_family
def test_nothing_is_built_that_no_map_needs(family):
    full = tiny(family)
    for index in full.out_indices:
        model = tiny(family, out_indices=(index,)).train()
        side = max(64, 2 * max(model.out_strides))
        loss(model(image(side, side))).backward()
        idle = [name for name, p in model.named_parameters() if p.grad is None]
        assert not idle, f"map {index} needs no {idle}"


@every_family
def test_unread_maps_leave_no_parameter_without_a_gradient(family, caplog):
    """DistributedDataParallel stops at a parameter without one.

    What is read gets the gradients that it has where all is read.
    """
    side = max(64, 2 * max(tiny(family).out_strides))
    for read in range(len(tiny(family).out_indices)):
        model, plain = tiny(family).train(), tiny(family).train()
        with caplog.at_level("INFO", "mmmamba"):
            caplog.clear()
            for _ in range(2):
                model.zero_grad()
                torch.manual_seed(0)
                loss(model(image(side, side))[read : read + 1]).backward()
        told = [r.message for r in caplog.records if "nothing reads its maps" in r.message]
        assert len(told) == 1 and f"out_indices=({model.out_indices[read]},)" in told[0]
        for _ in range(2):
            plain.zero_grad()
            torch.manual_seed(0)
            weights = [1.0 if n == read else 0.0 for n in range(len(plain.out_indices))]
            maps = plain(image(side, side))
            (
                loss(maps[read : read + 1])
                + sum(w * m.sum() for w, m in zip(weights, maps) if not w)
            ).backward()
        for (name, p), q in zip(model.named_parameters(), plain.parameters()):
            assert p.grad is not None, name
            torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=0)


@every_family
def test_classifier(family):
    model = tiny(family, classifier=True, num_classes=7).train()
    logits = model(image())
    assert logits.shape == (2, 7)
    logits.pow(2).sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert not idle, f"no gradient reaches {idle}"


@every_family
def test_misspelt_arguments_are_errors(family):
    with pytest.raises(TypeError, match="Did you mean 'out_indices'"):
        tiny(family, out_indizes=(0,))
    with pytest.raises(ValueError, match="has no arch"):
        FAMILIES[family](arch="nothing_like_it")
    key = next(iter(FAMILIES[family].TINY["arch"]))
    with pytest.raises(ValueError, match=f"Did you mean '{key}'"):
        FAMILIES[family](arch=FAMILIES[family].TINY["arch"] | {f"{key}x": 1})


@every_family
def test_every_variant_can_be_named(family):
    for name in FAMILIES[family].ARCHS:
        assert name in mmmamba.list_backbones()
        with torch.device("meta"):
            model = mmmamba.create_backbone(name)
        assert model.out_channels and model.out_strides


def test_names():
    assert set(mmmamba.list_backbones("*vision*")) >= {"mambavision_t", "mambavision_l3_512_21k"}
    with pytest.raises(ValueError, match="Did you mean 'vmamba_t'"):
        mmmamba.create_backbone("vmamba_tt")


def test_types_resolve_from_mmdet_and_mmseg():
    from mmdet.registry import MODELS as detection
    from mmseg.registry import MODELS as segmentation

    for registry in (detection, segmentation):
        for family in FAMILIES:
            assert isinstance(
                registry.build(dict(type=family) | FAMILIES[family].TINY), FAMILIES[family]
            )
