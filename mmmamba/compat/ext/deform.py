"""Deformable convolution, v1 (Dai et al. 2017) and v2 with a mask (Zhu et al. 2019), by torchvision.

Offsets are (B, G * KH * KW * 2, OH, OW) with (dy, dx) innermost, the same in both libraries.
"""

import torch
import torchvision
from torch import Tensor

from .precision import widen


def _backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    offset_groups: int,
) -> tuple[Tensor, ...]:
    """Gradients of input, weight, offset, mask and bias."""
    with_mask = mask is not None
    mask = mask if with_mask else offset.new_zeros(len(offset), 0)
    grad, x, w, o, m = widen(grad_output, input, weight, offset, mask)
    bias = w.new_zeros(len(w))
    return torch.ops.torchvision._deform_conv2d_backward(
        grad, x, w, o, m, bias, *stride, *padding, *dilation, groups, offset_groups, with_mask
    )


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Writes the convolution to ``output``; ``columns``, ``ones`` and ``im2col_step`` are mmcv's scratch, unused."""
    x, w, o = widen(input, weight, offset)
    output.copy_(torchvision.ops.deform_conv2d(x, o, w, None, (dH, dW), (padH, padW), (dilationH, dilationW)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Adds to ``grad_input`` and ``grad_offset``."""
    geometry = (dH, dW), (padH, padW), (dilationH, dilationW)
    grads = _backward(grad_output, input, weight, offset, None, *geometry, group, deformable_group)
    grad_input += grads[0].to(grad_input.dtype)
    grad_offset += grads[2].to(grad_offset.dtype)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Adds ``scale`` times the weight's gradient to ``grad_weight``."""
    geometry = (dH, dW), (padH, padW), (dilationH, dilationW)
    # mmcv does not pass the weight here, and its own gradient does not depend on it.
    weight = torch.zeros_like(grad_weight)
    grads = _backward(grad_output, input, weight, offset, None, *geometry, group, deformable_group)
    grad_weight += scale * grads[1].to(grad_weight.dtype)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Writes the convolution to ``output``; without ``with_bias`` the bias is an empty tensor."""
    x, w, b, o, m = widen(input, weight, bias, offset, mask)
    geometry = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    output.copy_(torchvision.ops.deform_conv2d(x, o, w, b if with_bias else None, *geometry, m))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Adds to ``grad_input``, ``grad_weight``, ``grad_offset``, ``grad_mask`` and, with a bias, ``grad_bias``."""
    geometry = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    grads = _backward(grad_output, input, weight, offset, mask, *geometry, group, deformable_group)
    targets = [grad_input, grad_weight, grad_offset, grad_mask] + ([grad_bias] if with_bias else [])
    for target, grad in zip(targets, grads):
        target += grad.to(target.dtype)
