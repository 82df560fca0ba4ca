"""The encoder of MiM-ISTD, tiny: what backbones promise, and its two readings of tokens."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

import mmmamba
import mmmamba.segmentation
from mmmamba.models.segmentors.mim_istd.backbone import MiMISTDBackbone
from mmmamba.models.trunks.base import MambaBackbone

READINGS = pytest.mark.parametrize("published", [False, True], ids=["proper", "published"])


def tiny(published: bool = False, **given) -> MiMISTDBackbone:
    torch.manual_seed(0)
    return MiMISTDBackbone(**MiMISTDBackbone.TINY, maps_as_published=published, **given)


def image(height: int = 64, width: int = 64, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, height, width, generator=generator)


def weighted(maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A sum in which every value counts differently."""
    generator = torch.Generator().manual_seed(1)
    return sum((m * torch.randn(m.shape, generator=generator)).sum() for m in maps)


def test_it_stands_in_its_own_network_alone() -> None:
    """It is no drop-in: the sweeps over all families, and lists of backbones, leave it out."""
    assert MiMISTDBackbone not in MambaBackbone.families()
    assert not mmmamba.list_backbones("mim*")
    with pytest.raises(ValueError, match="no classifier"):
        tiny(classifier=True)


@pytest.mark.parametrize("size", [(64, 128), (97, 131), (203, 70)], ids=str)
def test_proper_maps_take_any_size(size: tuple[int, int]) -> None:
    model = tiny().eval()
    with torch.no_grad():
        maps = model(image(*size, batch=1))
    for m, channels, stride in zip(maps, model.out_channels, model.out_strides):
        assert m.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert torch.isfinite(m).all()


@pytest.mark.parametrize("size", [(96, 96), (64, 128)], ids=str)
def test_the_published_reading_refuses_other_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]}.*maps_as_published=False"):
        tiny(published=True)(image(*size))


def test_only_the_published_reading_mixes_places() -> None:
    """With proper maps a cell keeps its place: a small change far away changes little here.

    Without scans over the map, everything is local.
    """
    spread = {}
    for published in (False, True):
        model = tiny(published).eval()
        for stage in model.stages:
            for module in (stage.words.op, *(block.op for block in stage.blocks)):
                torch.nn.init.zeros_(module.out_proj.weight)
        x = image(128, 128, batch=1)
        with torch.no_grad():
            before = model(x)[0]
            x[..., :8, :8] += 1
            changed = (model(x)[0] - before).abs().amax((0, 1)) > 1e-6
        spread[published] = changed[24:, 24:].any()
    assert spread == {False: False, True: True}


@READINGS
def test_every_parameter_learns(published: bool) -> None:
    model = tiny(published).train()
    weighted(model(image(128, 128))).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_batch_members_do_not_touch() -> None:
    model = tiny(published=True).eval()
    with torch.no_grad():
        for together, alone in zip(model(image()), model(image()[:1])):
            torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_checkpointing_changes_nothing() -> None:
    grads = []
    for with_cp in (False, True):
        model = tiny(published=True, with_cp=with_cp).train()
        x = image().requires_grad_()
        weighted(model(x)).backward()
        norms = [b for name, b in model.named_buffers() if "running" in name]
        grads.append([x.grad, *(p.grad for p in model.parameters()), *norms])
    for plain, again in zip(*grads):
        scale = 1e-5 * float(plain.abs().max()) + 1e-8
        torch.testing.assert_close(again, plain, rtol=1e-4, atol=scale)


@READINGS
def test_bfloat16_is_close(published: bool) -> None:
    model = tiny(published).eval()
    with torch.no_grad():
        want = model(image())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = model(image())
    for a, b in zip(got, want):
        assert (a.float() - b).pow(2).mean().sqrt() < 0.1 * b.std()


def test_maps_that_are_asked_for() -> None:
    full, some = tiny().eval(), tiny(out_indices=(0, 2)).eval()
    state = full.state_dict()
    some.load_state_dict({name: state[name] for name in some.state_dict()})
    with torch.no_grad():
        for got, want in zip(some(image()), full(image())[::2]):
            torch.testing.assert_close(got, want)
    # Nothing of what stands behind them is there, and what nobody reads has gradients of zero.
    assert len(some.stages) == 3 and list(some.up_blocks) == ["0", "2"]
    some.train()
    weighted(some(image())[:1]).backward()
    assert all(p.grad is not None for p in some.parameters())


def test_frozen_stages() -> None:
    for stages in range(-1, 5):
        model = tiny(frozen_stages=stages).train()
        frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
        assert ("patch_embed" in frozen) == (stages >= 0)
        for i, stage in enumerate(model.stages):
            still = i < stages
            assert all(p.requires_grad != still for p in stage.parameters())
            assert stage.training != still
    with pytest.raises(ValueError, match="frozen_stages"):
        tiny(frozen_stages=9)


def test_depths_rise_through_the_network() -> None:
    model = tiny()
    depths = {name: model.get_layer_depth(name) for name, _ in model.named_parameters()}
    assert {d for _, d in depths.values()} == {7}
    assert depths["patch_embed.common.conv.weight"][0] == 0
    assert depths["stages.0.words.proj.weight"][0] == 1
    assert depths["word_merges.1.conv.weight"][0] == depths["stages.2.words.proj.weight"][0] == 3
    assert depths["stages.2.blocks.1.op.Ds"][0] == 4
    assert depths["up_blocks.3.0.weight"][0] == 6


def test_misspelt_arguments_are_errors() -> None:
    with pytest.raises(TypeError, match="Did you mean 'maps_as_published'"):
        MODELS.build(dict(type="MiMISTDBackbone", map_as_published=True))
