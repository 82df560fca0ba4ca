"""A head for backbones that end in their published classifier."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class LogitsHead(ClsHead):
    """Loss and prediction of logits that the backbone gives: it is made with `classifier=True`.

    So norms, class tokens and pooling are those of the family, and weights keep the names that its
    authors' have in a backbone.
    """

    def pre_logits(self, feats: Tensor | Sequence[Tensor]) -> Tensor:
        """`(B, classes)` as they are.

        Raises:
            TypeError: maps, of a backbone without its classifier.
        """
        if not isinstance(feats, Tensor) or feats.dim() != 2:
            found = "maps" if not isinstance(feats, Tensor) else f"a tensor {tuple(feats.shape)}"
            raise TypeError(
                f"LogitsHead wants logits (B, classes) of the backbone, found {found}: write "
                "backbone=dict(..., classifier=True, num_classes=N)"
            )
        return feats
