"""What classifiers need beside the backbones; it imports mmpretrain."""

from . import logits_head  # noqa: F401
