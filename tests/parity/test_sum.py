"""SUM computes what its authors' code computes, stage by stage and for each condition."""

import pytest
import torch
from mmengine.registry import MODELS

import mmmamba.segmentation  # noqa: F401  (registers the model)
from mmmamba.checkpoints import load_weights

from . import harness, recipe

CASES = {
    "sum/sum_micro": dict(embed_dims=32, depths=(1, 2, 1, 1), up=(1, 1, 2, 1)),
    "sum/sum_micro_rect": dict(embed_dims=32, depths=(1, 2, 1, 1), up=(1, 1, 2, 1)),
    "sum/sum": dict(embed_dims=96, depths=(2, 2, 27, 2), up=(2, 2, 2, 1)),
}
SLOW = ("sum/sum",)


def build(embed_dims: int, depths: tuple[int, ...], up: tuple[int, ...]) -> torch.nn.Module:
    widths = [embed_dims * 2**i for i in (1, 2, 3, 3)]
    return MODELS.build(
        dict(
            type="SUM",
            backbone=dict(
                type="SUMEncoder", arch="vmamba_v0_s", embed_dims=embed_dims, depths=depths
            ),
            decode_head=dict(type="SUMDecoder", in_channels=widths, depths=up),
            loss=dict(type="SaliencyLoss"),
        )
    )


def record(model: torch.nn.Module, images: torch.Tensor, wanted: dict) -> dict[str, torch.Tensor]:
    """Every output that a case names, in its order."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str):
        return lambda module, args, out: seen.update({name: out.permute(0, 3, 1, 2)})

    for i, stage in enumerate(model.backbone.stages):
        stage.register_forward_hook(keep(f"stage{i}"))
    for i, layer in enumerate(model.decode_head.layers_up):
        layer.register_forward_hook(keep(f"up{i}"))
    found: dict[str, torch.Tensor] = {}
    for number in range(4):
        condition = torch.full((len(images),), number, device=images.device)
        found[f"logits_cond{number}"] = model.decode_head(model.extract_feat(images), condition)
        # The encoder's are the same for all.
        for name, output in seen.items():
            found[f"{name}_cond{number}" if name.startswith("up") else name] = output
    return {name: found[name] for name in wanted}


def check(name: str, sizes: dict, exactly: bool) -> None:
    case = recipe.load_case(f"{name}.json")
    model = build(**sizes)
    assert sum(value.numel() for value in model.parameters()) == case["parameters"]
    report = load_weights(model, harness.weights(case["state_dict"]))
    assert len(report.matched) == len(case["state_dict"])
    tolerance = harness.exactly(model, case) if exactly else 1e-4
    model.eval().to(harness.DEVICE)
    dtype = next(model.parameters()).dtype
    images = torch.from_numpy(recipe.pixels(case["input"])).to(harness.DEVICE, dtype)
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        got = record(model, images, case["outputs"])
    harness.compare(got, case["outputs"], tolerance)


@pytest.mark.parametrize("name, sizes", harness.cases(CASES, SLOW))
def test_parity(name, sizes):
    check(name, sizes, exactly=True)


@pytest.mark.slow
@pytest.mark.parametrize("name, sizes", harness.cases(CASES))
def test_parity_in_float32(name, sizes):
    check(name, sizes, exactly=False)
