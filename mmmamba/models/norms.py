"""Norms under the names that configs use in `norm_cfg`, where mmcv lacks them."""

from mmengine.registry import MODELS

from mmmamba.layers import LayerNorm2d

# Over the channels of (B, C, H, W), as in ViTDet's pyramid and heads.
MODELS.register_module("LN2d", module=LayerNorm2d)
