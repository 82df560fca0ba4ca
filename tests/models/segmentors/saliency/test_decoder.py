"""SUM's blocks: what a condition does, what is kept of it, what weights start from."""

from __future__ import annotations

import re

import pytest
import torch
from mmseg.registry import MODELS

import mmmamba
from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.models.segmentors.saliency.decoder import ModulatedSS2D, Modulation, SUMDecoder

from .tiny import DEPTHS, build, images, lively

B = torch.tensor


@pytest.mark.parametrize("scan_scale", [-2.5, -0.5, 0.0, 3.0])
def test_what_a_norm_undoes_is_left_out(scan_scale: float) -> None:
    """The scale of the scans, on either side of -1, against the formula as it is written."""
    torch.manual_seed(0)
    ss2d = ModulatedSS2D(16, d_state=4, gate=True, conv_bias=True).double()
    torch.nn.init.normal_(ss2d.out_norm.bias)
    x = torch.randn(2, 6, 5, 16, dtype=torch.float64)
    numbers = [torch.randn(2, 1, 1, 1, dtype=torch.float64) for _ in range(4)]
    by = Modulation(*numbers, torch.full((2, 1, 1, 1), scan_scale, dtype=torch.float64))

    given = x * (1 + by.input_scale) + by.input_shift
    u, z = ss2d.in_proj(given).chunk(2, -1)
    u = ss2d.conv2d(u.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    y = ss2d.out_norm(ss2d.scan(u) * (1 + by.scan_scale))
    y = y * (1 + by.output_scale) + by.output_shift
    wanted = ss2d.out_proj(y * torch.nn.functional.silu(z))
    # What is left is eps, of which more remains where the variance is small.
    assert (ss2d(x, by) - wanted).abs().max() < 2e-3 * wanted.std()


def test_each_image_has_its_own_condition() -> None:
    model = lively(build()).eval()
    with torch.no_grad():
        maps = model.extract_feat(images())
        mixed = model.decode_head(maps, B([1, 3]))
        alone = [model.decode_head(maps, B([c, c])) for c in range(4)]
    torch.testing.assert_close(mixed[0], alone[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed[1], alone[3][1], rtol=1e-4, atol=1e-5)
    assert (alone[1] - alone[3]).abs().mean() > 0.01 * alone[1].std()


def test_recomputing_keeps_the_condition_and_changes_nothing() -> None:
    """The authors' encoder lost its arguments there."""
    found = []
    for with_cp in (False, True):
        model = lively(build(with_cp=with_cp)).train()
        logits = model.decode_head(model.extract_feat(images()), B([0, 2]))
        logits.square().mean().backward()
        found.append((logits, {n: p.grad for n, p in model.named_parameters()}))
    assert torch.equal(found[0][0], found[1][0])
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, msg=name)


def test_every_parameter_learns_but_the_scale_that_norms_undo() -> None:
    model = lively(build()).train()
    model.decode_head(model.extract_feat(images()), B([0, 1])).square().mean().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle
    last = model.decode_head.layers_up[0].blocks[0].mlp[-1]
    assert last.weight.grad[:4].any(1).all() and not last.weight.grad[4].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    model = lively(build()).eval()
    with torch.no_grad():
        wanted = model.encode_decode(images(), [{}, {}])
        with torch.autocast("cpu", dtype):
            given = model.encode_decode(images(), [{}, {}])
    assert given.dtype == dtype
    assert (given.float() - wanted).abs().mean() < 0.1 * wanted.std()


@pytest.mark.parametrize("size", [(66, 163), (32, 35)])
def test_sizes_that_fit(size: tuple[int, int]) -> None:
    model = build().eval()
    with torch.no_grad():
        assert model.encode_decode(images(1, *size), [{}]).shape == (1, 1, *size)


@pytest.mark.parametrize("size", [(64, 68), (48, 64), (16, 16)])
def test_sizes_that_do_not_fit_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]} pixels.*multiples of 32"):
        build().encode_decode(images(1, *size), [{}])


def test_decoder_starts_from_the_stages_of_its_widths() -> None:
    """An ImageNet file of VMamba, with the old names and more blocks than the decoder has."""
    torch.manual_seed(2)
    source = mmmamba.create_backbone(
        "vmamba_v0_t", embed_dims=16, depths=(2, 1, 3, 1), classifier=True
    )
    old = {}
    for name, value in source.state_dict().items():
        name = re.sub(r"(blocks\.\d)\.norm", r"\1.ln_1", name)
        old[name.replace(".op.", ".self_attention.")] = value
    decoder = SUMDecoder([32, 64, 128, 128], DEPTHS)
    before = decoder.layers_up[0].blocks[0].condition.clone()
    load_weights(decoder, {"model": old})
    for i in range(4):
        ours = decoder.layers_up[3 - i].blocks[0].op.in_proj.weight
        assert torch.equal(ours, source.layers[i].blocks[0].op.in_proj.weight)
    assert torch.equal(before, decoder.layers_up[0].blocks[0].condition)
    encoder = MODELS.build(
        dict(type="SUMEncoder", arch="vmamba_v0_t", embed_dims=16, depths=(2, 1, 3, 1))
    )
    load_weights(encoder, {"model": old})
    assert torch.equal(encoder.layers[2].blocks[2].op.Ds, source.layers[2].blocks[2].op.Ds)


def test_files_that_do_not_fit_are_refused() -> None:
    state = build().state_dict()
    with pytest.raises(CheckpointError, match="not in the file"):
        load_weights(build(), {k: v for k, v in state.items() if "layers_up.1" not in k})
    with pytest.raises(CheckpointError, match="have no place"):
        load_weights(build(), {**state, "decode_head.layers_up.0.blocks.1.condition": B([0.0])})
    # What was saved here loads as strictly.
    report = load_weights(build(seed=3), {"state_dict": state})
    assert len(report.matched) == len(state)


def test_widths_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="out_channels"):
        SUMDecoder([32, 64, 128, 256], DEPTHS)
    with pytest.raises(ValueError, match="reads all 4 maps"):
        MODELS.build(dict(type="SUMEncoder", arch="vmamba_v0_t", out_indices=(1, 2)))
    with pytest.raises(ValueError, match="no classifier"):
        MODELS.build(dict(type="SUMEncoder", arch="vmamba_v0_t", classifier=True))
