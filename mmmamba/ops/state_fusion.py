"""States of a scan joined with their neighbours on the map, then read out.

(Spatial-Mamba, arXiv 2410.15091, section 3.2.) On CUDA one kernel reads the states and writes what
is read of them, where PyTorch's operators would write a padded map and a convolution of it for
each dilation; training keeps the inputs alone.

Shape suffixes: B batch, H and W sides, D channels, J kernels of 3x3, each with a dilation of its
own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import no_autocast
from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON

MOST_DILATIONS, LARGEST_DILATION = 4, 255
"""That the kernels take."""


def fuse_states(
    h_BHWD: Tensor,
    kernels_JD33: Tensor,
    C_BHW: Tensor,
    dilations: Sequence[int] = (1, 3, 5),
    u_BHWD: Tensor | None = None,
    skip_D: Tensor | None = None,
) -> Tensor:
    """`C * f(h) + skip * u` in h's dtype, `f` the sum of depthwise convolutions of h.

    Beyond its borders a map is continued by its outermost cells.

    Args:
        h_BHWD: one state of each channel at each position.
        kernels_JD33: `(J, D, 3, 3)`.
        C_BHW: what a position reads states with.
        dilations: cells from one tap to the next, J of them.
        u_BHWD, skip_D: what is added; both or neither.

    Raises:
        ValueError: shapes that do not fit.
    """
    _check(h_BHWD, kernels_JD33, C_BHW, dilations, u_BHWD, skip_D)
    given = (h_BHWD, kernels_JD33, C_BHW, u_BHWD, skip_D, tuple(dilations))
    return _Fused.apply(*given) if kernels_take(*given) else _plain(*given)


def kernels_take(
    h: Tensor,
    kernels: Tensor,
    C: Tensor,
    u: Tensor | None,
    skip: Tensor | None,
    dilations: tuple[int, ...],
) -> bool:
    """Whether Triton's kernels exist for it."""
    if not (HAS_TRITON and unwatched(h)):
        return False
    known = all(x is None or x.dtype in DTYPES for x in (h, kernels, C, u, skip))
    few = len(dilations) <= MOST_DILATIONS and min(dilations) > 0
    # Offsets within an image are of 32 bits; on the way back it has margins.
    _, height, width, channels = h.shape
    margin = 2 * len(dilations)
    small = (height + margin) * (width + margin) * channels < 2**31
    return known and few and max(dilations) <= LARGEST_DILATION and small


def _check(h, kernels, C, dilations, u, skip) -> None:
    shape, channels = tuple(h.shape), h.shape[-1]
    wanted = (
        ("kernels_JD33", kernels, (len(dilations), channels, 3, 3)),
        ("C_BHW", C, shape[:-1]),
        ("u_BHWD", u, shape),
        ("skip_D", skip, (channels,)),
    )
    for name, x, want in wanted:
        if x is not None and tuple(x.shape) != want:
            raise ValueError(
                f"fuse_states: {name} is {tuple(x.shape)}, but states {shape} and dilations "
                f"{tuple(dilations)} ask for {want}"
            )
    if (u is None) != (skip is None):
        raise ValueError("fuse_states wants both u_BHWD and skip_D, or neither")


def _plain(
    h: Tensor,
    kernels: Tensor,
    C: Tensor,
    u: Tensor | None,
    skip: Tensor | None,
    dilations: tuple[int, ...],
) -> Tensor:
    # In the dtype of the states: where autocast is float16, they are float32 as they may exceed it.
    with no_autocast(h):
        first, *more = [_convolved(h, kernel, s) for kernel, s in zip(kernels, dilations)]
    y = C.unsqueeze(-1) * sum(more, first)
    return (y if u is None or skip is None else y + skip * u).to(h.dtype)


def _convolved(h: Tensor, kernel_D33: Tensor, dilation: int) -> Tensor:
    h_BDHW = F.pad(h.permute(0, 3, 1, 2), (dilation,) * 4, mode="replicate")
    weight = kernel_D33.unsqueeze(1).to(h.dtype)
    y_BDHW = F.conv2d(h_BDHW, weight, dilation=dilation, groups=len(weight))
    return y_BDHW.permute(0, 2, 3, 1)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h, kernels, C, u, skip, dilations):
        from .kernels.state_fusion import forward

        # C comes as a column of a wider projection, the kernels as a product in another order.
        tensors = [x if x is None else x.contiguous() for x in (h, kernels, C, u, skip)]
        ctx.save_for_backward(*tensors)
        ctx.dilations = dilations
        return forward(*tensors, dilations)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(
                lambda *x: _plain(*x, ctx.dilations), ctx.saved_tensors, ctx.needs_input_grad, grad
            )
        from .kernels.state_fusion import backward

        return *backward(grad, *ctx.saved_tensors, ctx.dilations), None
