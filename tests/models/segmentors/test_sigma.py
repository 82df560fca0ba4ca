"""Sigma's network beyond its figures: what is trained, precision, memory, weights, sizes."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

import mmmamba.segmentation  # noqa: F401  (registers it, as custom_imports of the configs do)
from mmmamba.acceleration.graphs import graph_model
from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.exporting.graphs import graph_of
from mmmamba.exporting.tracing import trace
from mmmamba.layers import ConcatFusion, CrossFusion
from mmmamba.models.backbones import VMamba
from mmmamba.models.segmentors.sigma.backbone import SigmaBackbone
from mmmamba.models.segmentors.sigma.bare_parameters import bare_parameters
from tests.exporting.graphs.cases import onnx_file, run_onnx

CLASSES = 5
STEPS = 40
UNTRAINED = 6_407_808
"""Parameters of Sigma-T that the authors' optimizer holds in no group."""
NAMES = {"x_proj_weight", "dt_projs_weight", "dt_projs_bias", "A_logs", "Ds", "A_log_1", "A_log_2"}


def tiny(**arguments) -> nn.Module:
    """A segmentor of few channels, always with the same weights."""
    torch.manual_seed(0)
    return segmentor(SigmaBackbone.TINY["arch"], **arguments)


def segmentor(arch, in_channels: int = 6, depths=(1, 2, 1), **arguments) -> nn.Module:
    width = arch["embed_dims"] if isinstance(arch, dict) else SigmaBackbone.ARCHS[arch].embed_dims
    init_default_scope("mmseg")
    backbone = dict(type="SigmaBackbone", arch=arch, in_channels=in_channels, **arguments)
    head = dict(type="SigmaHead", in_channels=[width * 2**i for i in range(4)], depths=depths)
    return MODELS.build(
        dict(
            type="EncoderDecoder",
            backbone=backbone,
            decode_head=dict(head, num_classes=CLASSES, **arguments),
        )
    )


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model.decode_head(model.backbone(images))


def pairs(*size: int, batch: int = 2, channels: int = 6) -> torch.Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (32, 45)])
def test_odd_sizes_and_a_batch_of_one(size):
    model = tiny().eval()
    with torch.no_grad():
        together, alone = logits(model, pairs(*size)), logits(model, pairs(*size)[:1])
    assert together.shape == (2, CLASSES, *(side // 4 * 4 for side in size))
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-4 * float(alone.std()))


def test_every_parameter_learns():
    model = tiny().train()
    logits(model, pairs(64, 64)).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle, f"no gradient reaches {idle}"


def test_the_published_switch_freezes_what_their_optimizer_forgot():
    with torch.device("meta"):
        model = segmentor("sigma_t", depths=(4, 4, 4), train_state_space=False)
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    # Of nine classes or five, the classifier has no part in it.
    assert sum(p.numel() for p in frozen.values()) == UNTRAINED
    assert {name.rpartition(".")[2] for name in frozen} >= NAMES
    assert frozen.keys() == {name for name, _ in bare_parameters(model)}
    # Those of the cross fusion that are layers are trained.
    assert model.backbone.cross_mamba[0].op.CMA_ssm.dt_proj_1.bias.requires_grad
    model = tiny(train_state_space=False).train()
    optimizer = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))
    wrapper = build_optim_wrapper(model, optimizer)
    before = copy.deepcopy(model.state_dict())
    wrapper.update_params(logits(model, pairs(64, 64)).square().mean())
    moved = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert moved and not moved & {name for name, _ in bare_parameters(model)}


def test_checkpointing_changes_nothing():
    found = []
    for with_cp in (False, True):
        model = tiny(with_cp=with_cp).eval()
        images = pairs(64, 64).requires_grad_()
        y = logits(model, images)
        y.square().mean().backward()
        found.append([y.detach(), images.grad, *(p.grad for p in model.parameters())])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()) + 1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_close_and_stays_finite(dtype):
    model = tiny().train()
    want = logits(model, pairs(64, 64))
    with torch.autocast("cpu", dtype=dtype):
        got = logits(model, pairs(64, 64))
    assert (got.float() - want).pow(2).mean().sqrt() < 0.06 * want.std()
    got.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_one_channel_is_three_times_the_same():
    grey = pairs(64, 64, channels=4)
    with torch.no_grad():
        found = logits(tiny(in_channels=4).eval(), grey)
        wanted = logits(tiny().eval(), torch.cat([grey, grey[:, 3:], grey[:, 3:]], 1))
    assert torch.equal(found, wanted)


def test_the_images_stand_for_different_things():
    model = tiny().eval()
    images = pairs(64, 64)
    with torch.no_grad():
        there, back = logits(model, images), logits(model, images.roll(3, 1))
    assert (there - back).abs().mean() > 0.1 * there.std()


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="in_channels of SigmaBackbone is 5, wanted 6"):
        SigmaBackbone(**SigmaBackbone.TINY, in_channels=5)
    with pytest.raises(ValueError, match="images of 3 channels, wanted 6: three of colour and 3"):
        SigmaBackbone(**SigmaBackbone.TINY)(pairs(64, 64, channels=3))
    with pytest.raises(ValueError, match="Did you mean 'sigma_t'"):
        SigmaBackbone("sigma_tt")
    with pytest.raises(TypeError, match="out_indizes"):
        SigmaBackbone(out_indizes=(0,))


def test_a_head_of_other_widths_is_refused():
    with pytest.raises(ValueError, match="each twice the one before"):
        MODELS.build(dict(type="SigmaHead", in_channels=[16, 32, 60], num_classes=3))
    with pytest.raises(ValueError, match="wanted 2 entries"):
        MODELS.build(dict(type="SigmaHead", in_channels=[16, 32, 64], num_classes=3))
    model = tiny()
    with pytest.raises(ValueError, match=r"got maps of \[8, 16, 32, 64\] channels, wanted \[16"):
        model.decode_head([torch.zeros(1, 8 * 2**i, 8 // 2**i, 8 // 2**i) for i in range(4)])


def encoder(**arguments) -> SigmaBackbone:
    return SigmaBackbone(**SigmaBackbone.TINY, **arguments)


def imagenet(depths=(1, 1, 2, 1)) -> dict:
    """What VMamba's authors wrote: a v0 classifier, under their early names."""
    arch = dict(embed_dims=16, depths=depths, d_state=16, mlp_ratio=0.0, stem="patch")
    arch.update(downsample="merging", gate=True, conv_bias=True)
    state = VMamba(arch, classifier=True, num_classes=9).state_dict()
    old = {
        name.replace("patch_embed.0.", "patch_embed.proj.").replace(".op.", ".self_attention."): w
        for name, w in state.items()
    }
    return dict(model=old, epoch=292)


def test_it_starts_from_vmambas_imagenet_weights():
    held = imagenet()
    model = encoder(train_state_space=False)
    report = load_weights(model, held)
    ours = model.vssm.layers[2].blocks[1].op.A_logs
    assert torch.equal(ours, held["model"]["layers.2.blocks.1.self_attention.A_logs"])
    fusions = [name for name in model.state_dict() if "_mamba." in name]
    norms = [f"vssm.outnorm{i}.{end}" for i in range(4) for end in ("weight", "bias")]
    assert set(report.missing) == {*fusions, *norms}
    assert report.of_no_use and not report.mismatched


def test_another_size_of_vmamba_is_named():
    with pytest.raises(CheckpointError, match=r"blocks 1, 1, 3, 1.*this module is a .*1, 1, 2, 1"):
        load_weights(encoder(), imagenet(depths=(1, 1, 3, 1)))


def test_files_of_their_training_fill_backbone_and_segmentor():
    source = tiny()
    held = dict(model={f"module.{name}": w for name, w in source.state_dict().items()}, epoch=3)
    for target in (tiny(), encoder()):
        with torch.no_grad():
            for p in target.parameters():
                p.zero_()
        load_weights(target, held)
        part = target if hasattr(target, "decode_head") else nn.ModuleDict(dict(backbone=target))
        for name, value in part.state_dict().items():
            assert torch.equal(value, source.state_dict()[name]), name
    # A detector's file has all of its backbone.
    del held["model"]["module.backbone.cross_mamba.0.op.conv2d.weight"]
    with pytest.raises(CheckpointError, match="1 of .* tensors are not in the file"):
        load_weights(encoder(), held)


def test_a_vmamba_refuses_it_by_name():
    held = dict(model={f"backbone.{name}": w for name, w in encoder().state_dict().items()})
    with pytest.raises(CheckpointError, match="looks like one of Sigma, not of VMamba"):
        load_weights(VMamba("vmamba_v0_t"), held)


def test_fusions_tell_their_walks():
    pair = torch.randn(2, 1, 5, 7, 16)
    for fusion, rows in ((CrossFusion(16), 5), (ConcatFusion(16), 10)):
        walk = fusion.walk(pair)
        assert (walk.height, walk.width, walk.cells_GKT.shape) == (rows, 7, (1, 2, rows * 7))


@pytest.mark.slow
def test_backbone_and_head_compile():
    model = tiny().eval()
    compiled = torch.compile(partial(logits, model), backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        found, wanted = compiled(pairs(64, 64)), logits(model, pairs(64, 64))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.std()))


def shapes(count: int, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs with a square that one image shows and one that the other does, and their labels."""
    generator = torch.Generator().manual_seed(0)
    images = 0.3 * torch.randn(count, 6, side, side, generator=generator)
    labels = torch.zeros(count, side, side, dtype=torch.long)
    for image, label in zip(images, labels):
        for number, channels in ((1, image[:3]), (2, image[3:])):
            top, left = torch.randint(side - 12, (2,), generator=generator).tolist()
            channels[:, top : top + 12, left : left + 12] += 2
            label[top : top + 12, left : left + 12] = number
    return images, labels


@pytest.mark.slow
def test_it_learns_what_one_image_alone_does_not_show():
    model = tiny().train()
    images, labels = shapes(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(logits(model, images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = logits(model.eval(), images).argmax(1)
    for number in (0, 1, 2):
        both = ((found == number) & (labels == number)).sum()
        assert both / ((found == number) | (labels == number)).sum() > 0.8, number


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_an_onnx_file_gives_the_same(dynamic):
    torch.manual_seed(0)
    model = segmentor(dict(embed_dims=8, depths=(1, 1, 1, 1)), depths=(1, 1, 1)).eval()
    graph = graph_of(model, logits=True)
    program = trace(graph, [pairs(64, 96)], dynamic)
    file = onnx_file(graph, program)
    for size in ((64, 96), (97, 131)) if dynamic else ((64, 96),):
        images = pairs(*size)
        with torch.no_grad():
            (wanted,) = graph(images)
        (found,) = run_onnx(file, images)
        assert (torch.from_numpy(found) - wanted).abs().max() < 1e-4 * wanted.std()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_and_replays_the_same():
    found = []
    for device, graphs in (("cpu", False), ("cuda", False), ("cuda", True)):
        model = tiny(drop_path_rate=0.0).to(device).train()
        images = pairs(64, 96).to(device)
        if graphs:
            model = graph_model(model, 1)
        for _ in range(2):
            model.zero_grad()
            torch.manual_seed(0)
            y = model.decode_head(model.extract_feat(images))
            y.float().square().mean().backward()
        # All in one: a bias in front of a norm has a gradient of rounding alone.
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        found.append([y.detach().cpu(), gradient.cpu()])
    for others in found[1:]:
        for a, b in zip(others, found[0]):
            assert (a - b).norm() <= 2e-2 * b.norm()
    # In half precision nothing overflows.
    with torch.autocast("cuda", torch.float16):
        y = model.decode_head(model.extract_feat(images))
    assert torch.isfinite(y).all()
