"""What PlainMamba's configs decay, by the names of the authors' model."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from .conftest import CONFIGS
from .test_all_configs import build_on_meta

BLOCK = "backbone.layers.0."
ALWAYS = (f"{BLOCK}op.in_proj.weight", "backbone.patch_embed.stem.norm.weight")
ALWAYS += ("backbone.patch_embed.convs.0.norm.weight", f"{BLOCK}dw.norm.weight")
NEVER = (f"{BLOCK}norm.weight", f"{BLOCK}op.A_log", f"{BLOCK}op.D", f"{BLOCK}op.direction_Bs")
NEVER += ("backbone.tokens.pos_embed",)


def decayed(name: str) -> tuple[dict[str, float], nn.Module]:
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope(cfg.default_scope)
    model = build_on_meta(cfg)
    wrapper = build_optim_wrapper(model, dict(cfg.optim_wrapper, type="OptimWrapper"))
    names = {id(p): name for name, p in model.named_parameters()}
    groups = wrapper.optimizer.param_groups
    return {names[id(p)]: g["weight_decay"] for g in groups for p in g["params"]}, model


@pytest.mark.parametrize("method", ["mask_rcnn", "retinanet"])
def test_detectors(method: str) -> None:
    found, model = decayed(f"{method}/plainmamba_l1_det_1x_coco")
    priors = [name for name in found if ".spm." in name and name.endswith("weight")]
    assert len(priors) == 16
    assert all(found[name] == 0.05 for name in (*ALWAYS, *priors))
    kept = (*NEVER, "backbone.level_embed", "backbone.ad_norm1.weight")
    assert not any(found[name] for name in kept)
    assert not any(value for name, value in found.items() if name.endswith("bias"))
    assert model.neck.lateral_convs[0].with_norm


def test_segmentors() -> None:
    found, model = decayed("upernet/plainmamba_l1_160k_ade20k-512x512")
    kept = (*NEVER, "backbone.norm_layer5.weight")
    assert not any(found[name] for name in kept)
    biases = (
        "backbone.ln1.weight",
        f"{BLOCK}op.in_proj.bias",
        "backbone.patch_embed.stem.norm.bias",
    )
    assert all(found[name] == 0.01 for name in (*ALWAYS, *biases))
    assert model.auxiliary_head.in_index == 3
