"""Deformable convolution by torchvision: v1 (Dai et al. 2017), v2 with a mask (Zhu et al. 2019).

Offsets are (B, G * KH * KW * 2, OH, OW) with (dy, dx) innermost, the same in both libraries. They
differ in two things, where mmcv is followed: the slope at the border (`_inside`), and the maps of
v2 that are larger than the output (`_read_prefix`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from .precision import widen


def _inside(
    offset: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Which samples are less than a cell away from a map of `size`, (B, G, KH, KW, 1, OH, OW).

    All others are 0, and in mmcv so is their slope, even at exactly one cell: the samples of the
    padded border while offsets are 0. torchvision gives the slope towards the map there.
    """
    offset_BGKL2HW = offset.unflatten(1, (-1, *kernel, 2))
    inside = torch.ones((), dtype=torch.bool, device=offset.device)
    for axis in (0, 1):
        tap = torch.arange(kernel[axis], device=offset.device) * dilation[axis]
        cell = torch.arange(offset.shape[2 + axis], device=offset.device) * stride[axis]
        # Against (B, G, KH, KW, 1, OH, OW): rows differ by KH and OH, columns by KW and OW.
        shape = (-1, 1, 1, len(cell), 1) if axis == 0 else (-1, 1, 1, len(cell))
        unmoved = (tap[:, None] + cell - padding[axis]).view(shape)
        position = unmoved + offset_BGKL2HW[:, :, :, :, axis : axis + 1]
        inside = inside & (position > -1) & (position < size[axis])
    return inside


def _read_prefix(name: str, values: Tensor, channels: int, output_size: Sequence[int]) -> Tensor:
    """Offsets or masks as (B, channels, OH, OW): the first values of each image of larger maps.

    mmcv's kernels for v2 know the output's size only; DyHead gives them the maps of another level.

    Raises:
        ValueError: there are other channels, or fewer values than the output has places.
    """
    needed = channels * output_size[0] * output_size[1]
    if values.shape[1] != channels or values.shape[1:].numel() < needed:
        raise ValueError(
            f"modulated_deform_conv2d: {name} is {tuple(values.shape)}, but this kernel and output "
            f"need {channels} channels and {output_size[0]}x{output_size[1]} values in each"
        )
    return values.flatten(1)[:, :needed].unflatten(1, (channels, *output_size))


def _write_prefix(grad: Tensor, target: Tensor) -> None:
    """Adds the gradient of what `_read_prefix` read of a tensor like `target`."""
    unread = target.shape[1:].numel() - grad.shape[1:].numel()
    target += F.pad(grad.flatten(1), (0, unread)).view_as(target).to(target.dtype)


class Gradients(NamedTuple):
    """Gradients of a deformable convolution; mask and bias have theirs where there is one."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


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
) -> Gradients:
    """Gradients of all that a deformable convolution is made of."""
    with_mask = mask is not None
    # torchvision's backward pass takes a mask and a bias in any case: an empty one, and zeros.
    mask = mask if with_mask else offset.new_zeros(len(offset), 0)
    grad, x, w, o, m = widen(grad_output, input, weight, offset, mask)
    bias = w.new_zeros(len(w))
    grad_x, grad_w, grad_o, grad_m, grad_b = torch.ops.torchvision._deform_conv2d_backward(
        grad, x, w, o, m, bias, *stride, *padding, *dilation, groups, offset_groups, with_mask
    )
    kernel = w.shape[2:]
    # torchvision's slope at the border is taken out again.
    inside = _inside(o, x.shape[2:], kernel, stride, padding, dilation)
    grad_o = grad_o.unflatten(1, (-1, *kernel, 2)).masked_fill(~inside, 0).view_as(o)
    return Gradients(grad_x, grad_w, grad_o, grad_m, grad_b)


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
    """Writes the convolution to `output`.

    `columns`, `ones` and `im2col_step` are mmcv's scratch, unused.
    """
    x, w, o = widen(input, weight, offset)
    # torchvision reads both numbers of groups off the shapes of weight and offset.
    output.copy_(
        torchvision.ops.deform_conv2d(x, o, w, None, (dH, dW), (padH, padW), (dilationH, dilationW))
    )


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
    """Adds to `grad_input` and `grad_offset`."""
    geometry = (dH, dW), (padH, padW), (dilationH, dilationW)
    grads = _backward(grad_output, input, weight, offset, None, *geometry, group, deformable_group)
    grad_input += grads.input.to(grad_input.dtype)
    grad_offset += grads.offset.to(grad_offset.dtype)


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
    """Adds `scale` times the weight's gradient to `grad_weight`."""
    geometry = (dH, dW), (padH, padW), (dilationH, dilationW)
    # mmcv does not pass the weight here, and its own gradient does not depend on it.
    weight = torch.zeros_like(grad_weight)
    grads = _backward(grad_output, input, weight, offset, None, *geometry, group, deformable_group)
    grad_weight += scale * grads.weight.to(grad_weight.dtype)


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
    """Writes the convolution to `output`; without `with_bias` the bias is an empty tensor."""
    taps = deformable_group * kernel_h * kernel_w
    offset = _read_prefix("offset", offset, 2 * taps, output.shape[2:])
    mask = _read_prefix("mask", mask, taps, output.shape[2:])
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
    """Adds to the gradients of input, weight, offset and mask, and with a bias to its own."""
    taps = deformable_group * kernel_h * kernel_w
    offset = _read_prefix("offset", offset, 2 * taps, grad_output.shape[2:])
    mask = _read_prefix("mask", mask, taps, grad_output.shape[2:])
    geometry = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    grads = _backward(grad_output, input, weight, offset, mask, *geometry, group, deformable_group)
    _write_prefix(grads.offset, grad_offset)
    _write_prefix(grads.mask, grad_mask)
    grad_input += grads.input.to(grad_input.dtype)
    grad_weight += grads.weight.to(grad_weight.dtype)
    if with_bias:
        grad_bias += grads.bias.to(grad_bias.dtype)
