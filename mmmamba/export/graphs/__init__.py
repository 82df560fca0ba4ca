"""Models as functions of tensors, from a batch of images to what is found in them."""

from .base import Graph

__all__ = ["Graph"]
