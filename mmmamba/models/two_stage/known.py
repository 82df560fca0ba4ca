"""Which of mmdet's settings and classes the batched ways know; all others go mmdet's way."""

from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmengine.config import ConfigDict
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .assignment import DeviceMaxIoUAssigner, DeviceRandomSampler
from .box_coding import knows_coder


def unchanged(made: object, base: type, *methods: str) -> bool:
    """Whether an object has the methods of a base class of its own."""
    own = isinstance(made, base)
    return own and all(getattr(type(made), name) is getattr(base, name) for name in methods)


def knows_anchors(generator: object) -> bool:
    """The same anchors at each cell, however large the map is."""
    methods = ("grid_priors", "single_level_grid_priors", "valid_flags", "single_level_valid_flags")
    return unchanged(generator, AnchorGenerator, *methods) and not generator.use_box_type


def knows_nms(cfg: ConfigDict) -> bool:
    """Plain suppression, and a limit to what is kept."""
    # Any further key, such as `max_num` or `class_agnostic`, changes what mmcv does.
    plain = set(cfg.nms) == {"type", "iou_threshold"} and cfg.nms.type == "nms"
    return plain and cfg.get("max_per_img", -1) > 0


def knows_binary_loss(loss: object) -> bool:
    """The cross entropy of a sigmoid, without weights of classes."""
    return (
        type(loss) is CrossEntropyLoss
        and loss.use_sigmoid
        and loss.class_weight is None
        and loss.ignore_index is None
        and loss.reduction == "mean"
    )


def knows_sampling(assigner: object, sampler: object) -> bool:
    return (
        isinstance(assigner, DeviceMaxIoUAssigner)
        and assigner.batches
        and isinstance(sampler, DeviceRandomSampler)
    )


def knows_box_head(head: nn.Module) -> bool:
    """A softmax over the classes, and mmdet's own targets, losses and results."""
    methods = ("get_targets", "loss", "loss_and_target", "predict_by_feat", "regress_by_class")
    private = ("_get_targets_single", "_predict_by_feat_single")
    return (
        unchanged(head, BBoxHead, *methods, *private)
        and head.with_cls
        and head.with_reg
        and not (head.custom_activation or head.custom_cls_channels)
        and isinstance(head.loss_cls, CrossEntropyLoss)
        and not head.loss_cls.use_sigmoid
        and knows_coder(head.bbox_coder)
    )


def knows_mask_results(head: nn.Module) -> bool:
    return unchanged(head, FCNMaskHead, "predict_by_feat", "_predict_by_feat_single")


def knows_mask_loss(head: nn.Module) -> bool:
    """The cross entropy of the mask of a region's class, from a head that does not see others."""
    loss = head.loss_mask
    return (
        unchanged(head, FCNMaskHead, "loss_and_target")
        and isinstance(loss, CrossEntropyLoss)
        and loss.use_mask
        and loss.class_weight is None
        and not has_batch_norm(head)
    )


def has_batch_norm(head: nn.Module) -> bool:
    """Whether a region's features depend on the other regions in training."""
    return any(isinstance(one, _BatchNorm) and one.training for one in head.modules())
