"""A trained model without its batch norms, for inference."""

from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmmamba.layers.conv_norm import fused_copy


def fuse(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose batch norms are folded into the convolutions right before
    them.

    For backbones, detectors and segmentors of any library; the output is the same. Load weights
    first. Unlike mmcv's `fuse_conv_bn` it leaves the model as it is, folds nothing across a layer
    in between, and gives each batch norm a convolution of its own where several share one (RTMDet's
    head).

    Raises:
        RuntimeError: it is fused already.
    """
    if getattr(model, "is_fused", False):
        raise RuntimeError(f"this {type(model).__name__} is fused already")
    model = fused_copy(model)
    for module in model.modules():
        if isinstance(module, ConvModule) and module.order.index("norm") < module.order.index(
            "conv"
        ):
            continue
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in zip(children, children[1:]):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, _BatchNorm):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    model.is_fused = True
    return model
