"""Models of timm that ours are measured beside."""

from __future__ import annotations

from typing import Any

from torch import nn

PEERS = {
    "swin_t": "swin_tiny_patch4_window7_224",
    "convnext_t": "convnext_tiny",
    "resnet50": "resnet50",
}

LABELS = {"swin_t": "Swin", "convnext_t": "ConvNeXt", "resnet50": "ResNet"}
"""Their families."""
RESULTS = {
    "swin_t": dict(top1=81.2, box_ap=42.7, mask_ap=39.3),
    "convnext_t": dict(top1=82.1, box_ap=44.2, mask_ap=40.1),
    "resnet50": dict(top1=79.8, box_ap=38.2, mask_ap=34.7),
}
"""In percent: top-1 after 300 epochs of ImageNet-1K (arXiv 2103.14030, 2201.03545; of ResNet-50 the
recipe A2 of 2110.00476), and Mask R-CNN 1x as arXiv 2401.10166 prints them beside its own."""


def timm_peer(name: str, size: tuple[int, int], classifier: bool = False, **more: Any) -> nn.Module:
    """A peer with random weights: the classifier, or its four maps.

    Args:
        size: of images; Swin's windows are laid out for one.
    """
    import timm

    if name == "swin_t":
        more |= dict(img_size=size, strict_img_size=False)
    return timm.create_model(PEERS[name], features_only=not classifier, **more)
