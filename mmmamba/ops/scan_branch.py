"""VMamba's branch between its two projections as one step of autograd, on a GPU.

(arXiv 2401.10166, figure 3: depthwise convolution with SiLU, S6 along the routes, LayerNorm.) These
are the kernels of `depthwise_conv`, `projected_scan` and `layer_norm` in their order, and give the
same numbers. One by one they would leave autograd some twenty nodes for each block, and on a GPU
where no graph is replayed Python's way through these takes longer than the kernels.
"""

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from .autocast import autocast_dtype
from .depthwise_conv import kernels_of, plain_of_one_dtype
from .depthwise_conv import kernels_take as conv_takes
from .derivatives import differentiated_again, gradients
from .layer_norm import kernels_take as norm_takes
from .layer_norm import output_dtype, plain_operator
from .selective_scan import projected
from .selective_scan.common import ScanArgs
from .selective_scan.dispatch import backend_module, resolve
from .selective_scan.joined import Joined, Separate, join, plain_join, separate


class ScanBranch(NamedTuple):
    """The branch's input and parameters, and likewise their gradients."""

    x_BHWD: Tensor
    conv_weight: Tensor
    conv_bias: Tensor | None
    x_proj_KMD: Tensor
    dt_proj_KDR: Tensor
    dt_bias_KD: Tensor
    A_log: Tensor
    """`(K D, N)`"""
    D: Tensor
    """`(K D,)`"""
    norm_weight: Tensor
    norm_bias: Tensor

    @property
    def separate(self) -> Separate:
        return Separate(self.x_proj_KMD, self.dt_proj_KDR, self.A_log)


class _Settings(NamedTuple):
    """What the branch wants to know besides tensors."""

    index_complete: bool
    eps: float
    weight_dtype: torch.dtype
    scan_dtype: torch.dtype
    """The dtype of the scan's output, which the norm reads."""
    out_dtype: torch.dtype


def takes(x_BHWD: Tensor, conv_weight: Tensor, scan_dtype: torch.dtype) -> bool:
    """Whether all three are kernels, on a GPU where nobody watches operators."""
    x_BDHW = x_BHWD.permute(0, 3, 1, 2)
    return conv_takes(x_BDHW, conv_weight, 1) and norm_takes(x_BHWD, scan_dtype, "")


def scan_branch(
    given: ScanBranch,
    index: Tensor,
    index_complete: bool,
    scan_dtype: torch.dtype,
    eps: float,
    feeds_linear: bool,
) -> Tensor:
    """The norm of the merged scans of SiLU of the convolution, `(B, H, W, D)`; where `takes`.

    Args:
        index, index_complete: of `projected_scan`.
        scan_dtype: the scan's output's, which the norm reads.
        eps, feeds_linear: of `layer_norm`.
    """
    x = given.x_BHWD
    taken = autocast_dtype(x) or x.dtype
    if taken != x.dtype:
        given = given._replace(x_BHWD=x.to(taken))
    out_dtype = output_dtype(x, scan_dtype, feeds_linear)
    settings = _Settings(index_complete, eps, taken, scan_dtype, out_dtype)
    if torch.is_grad_enabled():
        return _Branch.apply(*given, index, settings)
    return _forward(given, index, settings, keep_states=False)[0]


class _Kept(NamedTuple):
    """What is made on the way and kept for the way back."""

    scanned: projected.Tensors
    states: Tensor
    y_BLD: Tensor
    stats: Tensor
    backend: ModuleType


def _forward(
    given: ScanBranch, index: Tensor, settings: _Settings, keep_states: bool
) -> tuple[Tensor, _Kept]:
    from .kernels import layer_norm as norm_kernels

    batch, height, width, channels = shape = given.x_BHWD.shape
    x_BDHW = given.x_BHWD.permute(0, 3, 1, 2)
    local_BDHW = kernels_of(given.conv_weight).forward(
        x_BDHW, given.conv_weight, given.conv_bias, "silu"
    )
    length = height * width
    strides = (length * channels, channels, 1)
    scanned = projected.Tensors(
        local_BDHW.as_strided((batch, length, channels), strides),
        *join(given.separate, settings.weight_dtype),
        given.D.view(given.dt_bias_KD.shape),
        given.dt_bias_KD,
    )
    args = ScanArgs(index, True, True, settings.scan_dtype, settings.index_complete)
    backend = backend_module(resolve(given.x_BHWD.device))
    y_BLD, states = projected.forward(scanned, args, keep_states, backend)
    out_BLD, _, stats = norm_kernels.forward(
        y_BLD, None, given.norm_weight, given.norm_bias, settings.eps, settings.out_dtype
    )
    return out_BLD.view(shape), _Kept(scanned, states, y_BLD, stats, backend)


def _plain(given: ScanBranch, index: Tensor, settings: _Settings) -> Tensor:
    """The same from PyTorch's operators alone."""
    x_BDHW = given.x_BHWD.permute(0, 3, 1, 2)
    local_BDHW = plain_of_one_dtype(x_BDHW, given.conv_weight, given.conv_bias, "silu")
    scanned = projected.Tensors(
        local_BDHW.flatten(2).transpose(1, 2),
        *plain_join(given.separate, settings.weight_dtype),
        given.D.view(given.dt_bias_KD.shape),
        given.dt_bias_KD,
    )
    args = ScanArgs(index, True, True, settings.scan_dtype, settings.index_complete)
    y_BLD = projected.plain(scanned, args)
    out_BLD, _, _ = plain_operator(
        y_BLD, None, given.norm_weight, given.norm_bias, settings.eps, settings.out_dtype
    )
    return out_BLD.view(given.x_BHWD.shape)


class _Branch(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        *tensors, index, settings = inputs
        given = ScanBranch(*tensors)
        out, kept = _forward(given, index, settings, keep_states=True)
        # The skip weights and the bias are among the parameters.
        local, weight, A, *_ = kept.scanned
        ctx.save_for_backward(*given, index, local, weight, A, kept.states, kept.y_BLD, kept.stats)
        ctx.settings, ctx.backend = settings, kept.backend
        ctx.at_once = projected.numbers_at_once()
        return out

    @staticmethod
    def backward(ctx, grad_BHWD):
        *tensors, index, local, weight, A, states, y_BLD, stats = ctx.saved_tensors
        given, settings = ScanBranch(*tensors), ctx.settings
        if differentiated_again(grad_BHWD):
            return gradients(
                lambda *tensors: _plain(ScanBranch(*tensors), index, settings),
                given,
                ctx.needs_input_grad,
                grad_BHWD,
            )
        skip = given.D.view(given.dt_bias_KD.shape)
        scanned = projected.Tensors(local, weight, A, skip, given.dt_bias_KD)
        kept = _Kept(scanned, states, y_BLD, stats, ctx.backend)
        grads = _backward(grad_BHWD, given, index, settings, kept, ctx)
        return *grads, None, None


def _backward(
    grad_BHWD: Tensor, given: ScanBranch, index: Tensor, settings: _Settings, kept: _Kept, ctx
) -> tuple[Tensor | None, ...]:
    """Gradients of all in `given`: the parts' backward passes from the last to the first."""
    from .kernels import layer_norm as norm_kernels

    dtype = settings.scan_dtype
    dy_BLD, dnorm_weight, dnorm_bias = norm_kernels.backward(
        grad_BHWD, None, kept.y_BLD, kept.stats, given.norm_weight, dtype, None
    )
    args = ScanArgs(index, True, True, dtype, settings.index_complete)
    scanned = projected.backward(dy_BLD, kept.states, kept.scanned, args, ctx.at_once, kept.backend)
    dlocal_BDHW = scanned.x.view(given.x_BHWD.shape).permute(0, 3, 1, 2)
    wants_dx, *wants_parameters = ctx.needs_input_grad[:3]
    dx_BDHW, dconv_weight, dconv_bias = kernels_of(given.conv_weight).backward(
        dlocal_BDHW,
        given.x_BHWD.permute(0, 3, 1, 2),
        given.conv_weight,
        given.conv_bias,
        "silu",
        wants_dx,
        any(wants_parameters),
    )
    joined = Joined(scanned.weight, scanned.A)
    dx_proj, ddt_proj, dA_log = separate(given.separate, kept.scanned.A, joined)
    return (
        None if dx_BDHW is None else dx_BDHW.permute(0, 2, 3, 1),
        dconv_weight,
        dconv_bias,
        dx_proj,
        ddt_proj,
        scanned.bias,
        dA_log,
        None if scanned.D is None else scanned.D.view(given.D.shape),
        dnorm_weight,
        dnorm_bias,
    )
