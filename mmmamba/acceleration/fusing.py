"""A trained model without its batch norms, for inference."""

from itertools import pairwise

from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.wrappers import Conv2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmmamba.layers import DepthwiseConv, packed
from mmmamba.layers.conv_norm import fused_copy

PLAIN = (nn.Conv2d, Conv2d, DepthwiseConv, packed.Conv2d)
"""Classes that convolve with their weight as it is. Others may standardise it first (`ConvAWS`),
which would undo what is folded into it."""


def fuse(model: nn.Module) -> nn.Module:
    """Copy a model with its batch norms folded into the convolutions right before them.

    For backbones, detectors and segmentors of any library; the output is the same. Load weights
    first. Unlike mmcv's `fuse_conv_bn` it leaves the model as it is, folds nothing across a layer
    in between, and gives each batch norm a convolution of its own where several share one (RTMDet's
    head).

    Raises:
        RuntimeError: it is fused already.
    """
    model = fused_copy(model)
    for module in model.modules():
        if _norm_follows(module):
            _fold_norms(module)
    return model


def _norm_follows(module: nn.Module) -> bool:
    """Whether a norm behind a convolution among the children comes next in the forward pass too.

    A `ConvModule` has its children in one order and calls them in another.
    """
    if not isinstance(module, ConvModule):
        return True
    return module.order.index("norm") == module.order.index("conv") + 1


def _fold_norms(module: nn.Module) -> None:
    """Fold each child that is a batch norm into the convolution that stands right before it."""
    children = list(module.named_children())
    for (conv_name, conv), (norm_name, norm) in pairwise(children):
        # A convolution of ours may end in an activation, across which nothing can be folded.
        linear = type(conv) in PLAIN and getattr(conv, "act", None) is None
        if linear and isinstance(norm, _BatchNorm):
            # The fused one is a copy: modules that share the convolution keep it as it was.
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            # In its place, as the module's forward pass calls it by name.
            setattr(module, norm_name, nn.Identity())
