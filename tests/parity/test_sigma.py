"""Sigma computes what its authors computed: encoder, fusions, decoder."""

import pytest
import torch
from mmseg.models import EncoderDecoder

from mmmamba.checkpoints import load_weights
from mmmamba.models.segmentors.sigma.backbone import SigmaBackbone
from mmmamba.models.segmentors.sigma.head import SigmaHead  # noqa: F401  (registers it)

from . import harness, recipe

MICRO = dict(embed_dims=32, depths=(1, 2, 1, 1)), (1, 2, 1), 5
CASES = {
    "sigma/sigma_micro": MICRO,
    "sigma/sigma_micro_odd": MICRO,
    "sigma/sigma_tiny": ("sigma_t", (4, 4, 4), 9),
}
SLOW = ("sigma/sigma_tiny",)


def segmentor(arch, depths, num_classes, **arguments) -> EncoderDecoder:
    width = arch["embed_dims"] if isinstance(arch, dict) else SigmaBackbone.ARCHS[arch].embed_dims
    head = dict(in_channels=[width * 2**i for i in range(4)], depths=depths)
    return EncoderDecoder(
        backbone=dict(type="SigmaBackbone", arch=arch, **arguments),
        decode_head=dict(type="SigmaHead", num_classes=num_classes, **head, **arguments),
    ).eval()


def outputs(model: EncoderDecoder, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Everything that the figures hold, by its name there."""
    found = {}
    backbone, head = model.backbone, model.decode_head
    for k, layer in enumerate(head.layers_up):
        layer.register_forward_hook(
            lambda module, args, y, k=k: found.update({f"up{k}": y.permute(0, 3, 1, 2)})
        )
    for i, pair in enumerate(backbone.pairs(image)):
        crossed = backbone.cross_mamba[i](pair)
        for name, image_maps in (("", pair), ("cross_", crossed)):
            for other, m in zip(("rgb", "x"), image_maps):
                found[f"{name}{other}{i}"] = m.permute(0, 3, 1, 2)
    fused = backbone(image)
    found.update({f"fused{i}": m for i, m in enumerate(fused)})
    return found | dict(logits=head(fused))


@pytest.mark.parametrize("case, arguments", harness.cases(CASES, SLOW))
def test_all_outputs(case, arguments):
    case = recipe.load_case(f"{case}.json")
    model = segmentor(*arguments)
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    # As a file of the authors' training: under `model`, here with the prefix of its wrapper.
    state = harness.weights(case["state_dict"])
    load_weights(model, {"model": {f"module.{name}": w for name, w in state.items()}})
    images = [torch.from_numpy(recipe.pixels(case[n])) for n in ("input", "second_input")]
    tolerance = harness.exactly(model, case)
    dtype = next(model.parameters()).dtype
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        found = outputs(model.to(harness.DEVICE), torch.cat(images, 1).to(harness.DEVICE, dtype))
    harness.compare({name: found[name] for name in case["outputs"]}, case["outputs"], tolerance)
