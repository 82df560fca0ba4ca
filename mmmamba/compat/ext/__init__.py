"""What mmcv's Python wrappers call in `mmcv._ext`, answered by torchvision and PyTorch.

Names, argument order and keywords are those of the calls in `mmcv/ops/*.py`: results are written
into tensors that the caller allocated, gradients are added to zeros. Half and bfloat16 are computed
in float32.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NoReturn

from .attention import ms_deform_attn_backward, ms_deform_attn_forward
from .boxes import bbox_overlaps, nms, nms_match, softnms
from .carafe import carafe_backward, carafe_forward, carafe_naive_backward, carafe_naive_forward
from .deform import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .deform_roi_pool import deform_roi_pool_backward, deform_roi_pool_forward
from .focal import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from .lines import line_nms_forward
from .masked_conv import masked_col2im_forward, masked_im2col_forward
from .psa_mask import psamask_backward, psamask_forward
from .roi_align import roi_align_backward, roi_align_forward
from .roi_pool import roi_pool_backward, roi_pool_forward
from .sync_bn import (
    sync_bn_backward_data,
    sync_bn_backward_param,
    sync_bn_forward_mean,
    sync_bn_forward_output,
    sync_bn_forward_var,
)


def get_compiler_version() -> str:
    """What mmcv's environment report prints as its compiler."""
    return f"none (mmmamba.compat, torchvision {version('torchvision')})"


def get_compiling_cuda_version() -> str:
    """What mmcv's environment report prints as its CUDA compiler."""
    return get_compiler_version()


# By the names that mmcv looks up, so the functions themselves carry these.
OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        nms,
        softnms,
        nms_match,
        line_nms_forward,
        bbox_overlaps,
        roi_align_forward,
        roi_align_backward,
        roi_pool_forward,
        roi_pool_backward,
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
        deform_roi_pool_forward,
        deform_roi_pool_backward,
        masked_im2col_forward,
        masked_col2im_forward,
        carafe_forward,
        carafe_backward,
        carafe_naive_forward,
        carafe_naive_backward,
        psamask_forward,
        psamask_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        softmax_focal_loss_forward,
        softmax_focal_loss_backward,
        sync_bn_forward_mean,
        sync_bn_forward_var,
        sync_bn_forward_output,
        sync_bn_backward_param,
        sync_bn_backward_data,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
        get_compiler_version,
        get_compiling_cuda_version,
    )
}


def missing_operator(name: str) -> Callable[..., NoReturn]:
    """A function that raises NotImplementedError with the operator's name and the cure."""

    def operator(*args: Any, **kwargs: Any) -> NoReturn:
        mmcv = version("onedl-mmcv")
        raise NotImplementedError(
            f"mmcv's operator {name!r} needs the compiled extension mmcv._ext, which the "
            f"installed onedl-mmcv {mmcv} lacks; mmmamba.compat answers only for "
            f"{', '.join(OPERATORS)}. To get it, build mmcv with a C++ compiler beside the "
            f"installed torch (FORCE_CUDA=1 and nvcc for the GPU): `pip install setuptools wheel "
            f"ninja && pip install --force-reinstall --no-deps --no-cache-dir --no-build-isolation "
            f"--no-binary onedl-mmcv onedl-mmcv=={mmcv}`"
        )

    operator.__name__ = operator.__qualname__ = name
    return operator
