"""Classifiers as functions of tensors."""

from typing import ClassVar

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import ClsHead
from torch import Tensor

from mmmamba.errors import UsageError

from .base import Graph


class ClassifierGraph(Graph):
    """From images to the scores of classes, `scores` `(B, classes)`, which add up to 1.

    Args:
        classifier: mmpretrain's, whose head takes the softmax of logits.
        logits: give `logits` `(B, classes)` instead.

    Raises:
        UsageError: the classifier or its head predicts in a way that is not known.
    """

    task: ClassVar[str] = "classification"

    def __init__(self, classifier: ImageClassifier, logits: bool = False):
        super().__init__()
        _check(classifier)
        self.classifier = classifier
        self._logits = logits
        self.output_names = ("logits",) if logits else ("scores",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        logits_BC = self.classifier.head(self.classifier.extract_feat(inputs[0]))
        return (logits_BC if self._logits else logits_BC.softmax(1),)


def _check(classifier: ImageClassifier) -> None:
    kind = type(classifier)
    head = getattr(classifier, "head", None)
    if not isinstance(classifier, ImageClassifier) or kind.predict is not ImageClassifier.predict:
        raise UsageError(
            f"{kind.__name__} cannot be exported: it predicts in a way of its own, wanted that of "
            "mmpretrain's ImageClassifier"
        )
    # Of its class: `infer` may have wrapped that of the head itself.
    plain = isinstance(head, ClsHead) and (
        type(head).predict is ClsHead.predict
        and type(head)._get_predictions is ClsHead._get_predictions
    )
    if not plain:
        raise UsageError(
            f"{type(head).__name__} cannot be exported: it makes scores in a way of its own. Known "
            "are LogitsHead, LinearClsHead and other heads that predict as mmpretrain's ClsHead"
        )
