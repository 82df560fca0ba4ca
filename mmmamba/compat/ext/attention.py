"""Multi-scale deformable attention (Zhu et al. 2021, eq. 3) by mmcv's own PyTorch function."""

import torch
from torch import Tensor

from .precision import widen


def _attend(value: Tensor, spatial_shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    # Imported here, because mmcv.ops imports this module through mmcv._ext.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, spatial_shapes, locations, weights)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Attended values `(B, Q, M * D)`.

    For value `(B, S, M, D)`, locations `(B, Q, M, L, P, 2)` and weights `(B, Q, M, L, P)`.

    Levels follow one another in `value`, as `spatial_shapes` (L, 2) lists them.
    """
    if sampling_locations.numel() == 0:
        return value.new_zeros(
            len(value), sampling_locations.shape[1], value.shape[2] * value.shape[3]
        )
    wide = widen(value, sampling_locations, attention_weights)
    return _attend(wide[0], spatial_shapes, *wide[1:]).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Adds to the three gradients.

    The forward pass is computed once more, so that nothing is kept in between.
    """
    # The gradients that mmcv hands over are zeros already.
    if sampling_locations.numel() == 0:
        return
    wide = [
        t.detach().requires_grad_() for t in widen(value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        output = _attend(wide[0], spatial_shapes, *wide[1:])
    grads = torch.autograd.grad(output, wide, grad_output.to(output.dtype))
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads):
        target += grad.to(target.dtype)
