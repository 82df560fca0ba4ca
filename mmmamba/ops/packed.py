"""Linear layers and convolutions of weights that oneDNN has packed once, for inference on a CPU.

PyTorch gives oneDNN a weight as it lies in memory, which is laid out anew in every pass, after a
cast under autocast: of one image that is a fifth of the time, and half of it for wide convolutions
over small maps. Where no gradients are wanted the laid out weight is kept here, beside the module
and not in it: copies, state dicts and files know nothing of it, and it goes with the weight.

A kept weight is used as long as its original has the same memory, the same version (which every
write counts up) and the same numbers at places spread over all of it, as what is written through
`weight.data` counts nothing up. Only a write through `.data` to some few numbers could go unseen.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from .autocast import autocast_dtype
from .derivatives import unwatched, watched
from .linear import linear as linear_of_gpu

SAMPLE = 61
"""Numbers of a weight that are looked at, at least."""


class _Kept(NamedTuple):
    size: tuple[int, ...]
    version: int
    address: int
    sample: Tensor
    packed: Tensor


_KEPT: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""By weight, then by the layout that is wanted."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`; on a GPU by `mmmamba.ops.linear`."""
    if x.is_cuda:
        return linear_of_gpu(x, weight, bias)
    dtype = autocast_dtype(x) or x.dtype
    # A vector is no matrix product.
    if x.dim() < 2 or not _packs(x, weight, dtype):
        return F.linear(x, weight, bias)
    packed = _kept(weight, dtype, ("linear",), torch.ops.mkldnn._reorder_linear_weight)
    bias = None if bias is None else bias.to(dtype)
    return _product(x.to(dtype).contiguous(), packed, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def conv2d(
    x_BCHW: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """`F.conv2d` of one group and without dilation.

    On a GPU a kernel of one cell with a bias is a linear layer, whose product adds the bias where
    cuDNN's convolution leaves that to a pass of its own.

    On a CPU also in training by a way of its own, where PyTorch would take longer to lay out the
    weight and its gradient than to convolve: wide convolutions over small maps are one matrix
    product of the patches.
    """
    dtype = autocast_dtype(x_BCHW) or x_BCHW.dtype
    channels_last = x_BCHW.dim() == 4 and x_BCHW.is_contiguous(memory_format=torch.channels_last)
    of_cells = weight.shape[2:] == stride == (1, 1) and padding == (0, 0)
    if of_cells and channels_last and bias is not None and unwatched(x_BCHW):
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        return linear_of_gpu(x_BHWC, weight.flatten(1), bias).permute(0, 3, 1, 2)
    if channels_last and _packs(x_BCHW, weight, dtype):
        return _packed_conv2d(x_BCHW.to(dtype), weight, bias, stride, padding)
    if channels_last and _patches_pay(x_BCHW, weight, dtype, stride, padding):
        return _conv2d_of_patches(x_BCHW.to(dtype), weight, bias, stride, padding)
    return F.conv2d(x_BCHW, weight, bias, stride, padding)


def _packed_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding) -> Tensor:
    def pack(weight: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(
            weight, padding, stride, (1, 1), 1, x.shape
        )

    # Each size has its layout, and with another's oneDNN is as right and twenty times slower. One
    # is kept, as images may have any size.
    packed = _kept(weight, x.dtype, ("conv2d", stride, padding), pack, x.shape)
    bias = None if bias is None else bias.to(x.dtype)
    return torch.ops.mkldnn._convolution_pointwise(
        x, packed, bias, padding, stride, (1, 1), 1, "none", [], ""
    )


def _outputs(size: int, side: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - side) // stride + 1


def _patches_pay(x: Tensor, weight: Tensor, dtype: torch.dtype, stride, padding) -> bool:
    """Whether there are few patches for the size of the weight."""
    if x.device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16) or watched():
        return False
    B, _, H, W = x.shape
    rows = _outputs(H, weight.shape[2], stride[0], padding[0])
    columns = _outputs(W, weight.shape[3], stride[1], padding[1])
    # Patches are written once and their gradients added up, for a weight that is laid out in each
    # of three convolutions; a kernel of one cell is a matrix product as it is.
    numbers = B * rows * columns * weight[0].numel()
    return weight.shape[2] * weight.shape[3] > 1 and numbers <= weight.numel()


def _channels_last(grad_BCHW: Tensor) -> Tensor:
    return grad_BCHW.contiguous(memory_format=torch.channels_last)


def _conv2d_of_patches(x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding) -> Tensor:
    """The convolution, whose gradients lie in memory as a convolution's would.

    Sums, here and in what comes before, then have one order, however theirs lies.
    """
    rows = _outputs(x.shape[2], weight.shape[2], stride[0], padding[0])
    if x.requires_grad:
        # A view, as the hook is for what comes from here alone.
        x = x.view_as(x)
        x.register_hook(_channels_last)
    patches_BXL = F.unfold(x, weight.shape[2:], padding=padding, stride=stride)
    y_BLD = F.linear(patches_BXL.transpose(1, 2), weight.flatten(1), bias)
    if y_BLD.requires_grad:
        y_BLD.register_hook(Tensor.contiguous)
    return y_BLD.unflatten(1, (rows, -1)).permute(0, 3, 1, 2)


@cache
def _has_onednn(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has these operators, and this CPU instructions for the dtype."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


def _packs(x: Tensor, weight: Tensor, dtype: torch.dtype) -> bool:
    if x.device.type != "cpu" or torch.is_grad_enabled() or watched() or torch.jit.is_tracing():
        return False
    # Where dtypes are mixed without autocast, PyTorch's operators raise an error, and are to. Only
    # plain weights have a version to be told by: none of inference mode's tensors.
    return (
        (x.dtype == weight.dtype or autocast_dtype(x) is not None)
        and weight.dtype != torch.float64
        and x.shape[-1 if weight.dim() == 2 else 1] == weight.shape[1]
        and x.numel() > 0
        and type(weight) in (Tensor, nn.Parameter)
        and weight.is_contiguous()
        and not weight.is_inference()
        and bool(torch.backends.mkldnn.enabled)
        and _has_onednn(dtype)
    )


def _sample(weight: Tensor) -> Tensor:
    """Some of a contiguous weight's numbers, where they lie."""
    numbers = weight.detach().view(-1)
    return numbers[:: max(1, len(numbers) // SAMPLE)]


def _kept(
    weight: Tensor,
    dtype: torch.dtype,
    layout: tuple,
    pack: Callable[[Tensor], Tensor],
    size: tuple[int, ...] = (),
) -> Tensor:
    """What `pack` makes of the weight for a size, made anew when either has changed."""
    layouts, key = _KEPT.setdefault(weight, {}), (dtype, *layout)
    kept, sample = layouts.get(key), _sample(weight)
    if (
        kept is None
        or kept.size != size
        or kept.version != weight._version
        or kept.address != weight.data_ptr()
        or not torch.equal(kept.sample, sample)
    ):
        packed = pack(weight.detach().to(dtype))
        kept = _Kept(size, weight._version, weight.data_ptr(), sample.clone(), packed)
        layouts[key] = kept
    return kept.packed
