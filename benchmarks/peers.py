"""Models of timm that ours are measured beside."""

from __future__ import annotations

from typing import Any

from torch import nn

PEERS = {
    "swin_t": "swin_tiny_patch4_window7_224",
    "convnext_t": "convnext_tiny",
    "resnet50": "resnet50",
}


def timm_peer(name: str, size: tuple[int, int], classifier: bool = False, **more: Any) -> nn.Module:
    """A peer with random weights: the classifier, or its four maps.

    Args:
        size: of images; Swin's windows are laid out for one.
    """
    import timm

    if name == "swin_t":
        more |= dict(img_size=size, strict_img_size=False)
    return timm.create_model(PEERS[name], features_only=not classifier, **more)
