"""What classifiers need beside the backbones; it imports mmpretrain."""

from . import distilled_classifier, logits_head  # noqa: F401
