"""MiM-ISTD computes what its authors' code computes, in the precision of their figures."""

from __future__ import annotations

import functools
import logging

import pytest
import torch
from mmengine.registry import MODELS

import mmmamba.segmentation  # noqa: F401  (registers it)
from mmmamba.checkpoints import CheckpointError, load_weights

from . import harness, recipe

CASES = ("mim_istd", "mim_istd_128")
# The rounding of the stored samples, in units of an output's standard deviation.
FLOAT64 = 5e-6
# In the authors' file and read by nothing; the manifests leave them out.
RELATIVE_POS = ((1, 2, 4096, 256), (1, 4, 1024, 256), (1, 8, 256, 256), (1, 16, 64, 64))
HEAD = dict(
    type="MiMISTDHead",
    num_classes=2,
    out_channels=1,
    threshold=0.5,
    loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=True, avg_non_ignore=True),
)


def segmentor(**backbone) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type="MiMISTD",
            backbone=dict(type="MiMISTDBackbone", arch="mim_istd", **backbone),
            decode_head=HEAD,
            test_cfg=dict(mode="whole"),
        )
    )


@functools.cache
def their_file() -> dict[str, torch.Tensor]:
    """The authors' state dict, with what nothing reads."""
    state = harness.weights(recipe.load_case("mim_istd/mim_istd.json")["state_dict"])
    dead = {
        f"mim_backbone.stages.{i}.relative_pos": torch.zeros(shape)
        for i, shape in enumerate(RELATIVE_POS)
    }
    return state | dead


@functools.cache
def loaded(dtype: torch.dtype) -> torch.nn.Module:
    model = segmentor()
    model.load_weights(their_file())
    return model.to(harness.DEVICE, dtype).eval()


def record(model: torch.nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every output that the cases name."""
    seen: dict[str, torch.Tensor] = {}

    def keep(i: int, module: torch.nn.Module, args: tuple, out: tuple) -> None:
        words, sentences = out
        seen.update({f"words{i}": words, f"sentences{i}": sentences.flatten(1, 2)})

    stages = enumerate(model.backbone.stages)
    hooks = [stage.register_forward_hook(functools.partial(keep, i)) for i, stage in stages]
    with torch.no_grad():
        maps = model.extract_feat(image)
        seen |= {f"enc{i}": one for i, one in enumerate(maps)}
        decoded = model.decode_head.decoded(maps)
        seen |= {f"dec{k}": one for k, one in zip((3, 2, 1), decoded)}
        seen["pred"] = model.decode_head(maps)
        metas = [dict(img_shape=image.shape[2:], ori_shape=image.shape[2:])]
        seen["logits"] = model.encode_decode(image, metas)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", [CASES[0], pytest.param(CASES[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "dtype", [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)], ids=str
)
def test_outputs(name: str, dtype: torch.dtype) -> None:
    case = recipe.load_case(f"mim_istd/{name}.json")
    exact = dtype == torch.float64
    if exact and harness.DEVICE != "cpu":
        pytest.skip("the kernels of a GPU have no float64")
    image = torch.from_numpy(recipe.pixels(case["input"])).to(harness.DEVICE, dtype)
    with torch.backends.cudnn.flags(allow_tf32=False):
        got = record(loaded(dtype), image)
    worst = {
        key: recipe.mismatch(got[key].double().cpu().numpy(), want)
        for key, want in case["outputs"].items()
    }
    limit = {k: FLOAT64 if exact else 3 * v for k, v in case["float32_mismatch"]["outputs"].items()}
    assert all(value <= limit[key] for key, value in worst.items()), worst


def test_parameters() -> None:
    """Theirs, without what nothing reads."""
    case = recipe.load_case("mim_istd/mim_istd.json")
    dead = sum(torch.Size(shape).numel() for shape in RELATIVE_POS) + 2 * 256
    assert sum(p.numel() for p in segmentor().parameters()) == case["parameters"] - dead


def test_what_nothing_reads_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mmmamba"):
        report = segmentor().load_weights(dict(state_dict=their_file()))
    assert len(report.of_no_use) == 6
    assert all(name.endswith("num_batches_tracked") for name in report.missing)
    assert "left out" in caplog.text and "relative_pos" in caplog.text


def test_the_encoder_takes_its_part_of_the_file() -> None:
    encoder = MODELS.build(dict(type="MiMISTDBackbone", out_indices=(0, 2)))
    load_weights(encoder.to(harness.DEVICE), their_file())
    case = recipe.load_case("mim_istd/mim_istd.json")
    image = torch.from_numpy(recipe.pixels(case["input"])).to(harness.DEVICE)
    with torch.no_grad():
        want = loaded(torch.float32).backbone(image)
        for got, index in zip(encoder.eval()(image), (0, 2)):
            torch.testing.assert_close(got, want[index])


def test_a_file_that_lacks_something_is_refused() -> None:
    state = dict(their_file())
    del state["uplayer2.1.body.3.weight"]
    with pytest.raises(CheckpointError, match="decode_head.blocks2.1.conv2.weight"):
        segmentor().load_weights(state)
