"""A classifier that learns from a teacher, from the average of its own weights, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmmamba.acceleration.replays import Replays
from mmmamba.errors import UsageError
from mmmamba.layers import DistilledHeads

from .build_teacher import TeacherSettings, build_teacher
from .distillation import Distillation, mesa_loss, settings
from .teacher import Asked, Average, Teacher


@MODELS.register_module()
class DistilledClassifier(ImageClassifier):
    """mmpretrain's `ImageClassifier` with a teacher, which sees the student's images, mixed too.

    The losses are `loss_labels`, `loss_teacher` and, from a `MESAHook`, `loss_mesa`. Of a backbone
    with `DistilledHeads` the first head learns the labels and the second from the teacher.
    Predictions need no teacher, which is made when training begins.

    Args:
        teacher: the fields of `TeacherSettings`; None for a classifier with a `MESAHook` alone.
        distillation: the fields of `Distillation`.
        options: of `ImageClassifier`.

    Raises:
        UsageError: settings that cannot be, or a head that does more than weigh logits.
    """

    replays: Replays | None = None
    """What replays the teacher's passes as CUDA graphs; the graphs of this model bring it."""
    mesa_weight = 0.0
    """The weight of `loss_mesa` in this step; a `MESAHook` sets it."""

    def __init__(
        self,
        *args: Any,
        teacher: Mapping[str, Any] | None = None,
        distillation: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(*args, **options)
        _check_head(self.head)
        if distillation is not None and teacher is None:
            raise UsageError("distillation=dict(...) needs a teacher=dict(...)")
        self.distillation = settings(Distillation, "distillation", distillation or {})
        self._chosen = None if teacher is None else settings(TeacherSettings, "teacher", teacher)
        self._teacher: Teacher | None = None
        self._average: Average | None = None
        self._heads = [m for m in self.backbone.modules() if isinstance(m, DistilledHeads)]
        for heads in self._heads:
            heads.apart = teacher is not None

    def init_weights(self) -> None:
        super().init_weights()
        # What is wrong with it is told before the first batch is read.
        self.teacher()

    def teacher(self) -> Teacher | None:
        """The teacher, made when it is first asked for."""
        if self._teacher is None and self._chosen is not None:
            classes = self.data_preprocessor.num_classes or getattr(self.head, "num_classes", None)
            self._teacher = build_teacher(self._chosen, self.data_preprocessor, classes)
        return self._teacher

    def learn_from_average(self, average: nn.Module | None) -> None:
        """Take the average of this classifier's weights, a copy of it, for `loss_mesa`."""
        self._average = None if average is None else Average(average)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        # They go first: what they need on their way is free when the student's pass begins.
        of_teacher = self.ask(self.teacher(), inputs)
        of_average = self.ask(self._average if self.mesa_weight else None, inputs)
        feats = self.extract_feat(inputs)
        if self._chosen is not None and self._heads and not isinstance(feats, Tensor):
            to_label, to_teach = (self.head(logits) for logits in feats)
            together = (to_label + to_teach) / 2
        else:
            to_label = to_teach = together = self.head(feats)
        losses = self.head._get_loss(to_label, data_samples)
        # "loss" is what MMEngine calls the sum of all.
        losses["loss_labels"] = losses.pop("loss")
        if of_teacher is not None:
            _check_classes(to_teach, of_teacher)
            losses["loss_labels"] = self.distillation.of_labels * losses["loss_labels"]
            losses["loss_teacher"] = self.distillation(to_teach, of_teacher)
        if of_average is not None:
            losses["loss_mesa"] = self.mesa_weight * mesa_loss(together, of_average)
        return losses

    def ask(self, asked: Asked | None, inputs: Tensor) -> Tensor | None:
        """The logits of a network beside this one, replayed where this one is."""
        if asked is None:
            return None
        with torch.no_grad():
            found: Sequence[Tensor] = (
                asked(inputs) if self.replays is None else self.replays(asked, [inputs])
            )
        return found[0]


def _check_head(head: nn.Module | None) -> None:
    """Refuse heads whose loss is not that of their logits."""
    plain = isinstance(head, ClsHead) and (
        type(head).loss is ClsHead.loss and type(head)._get_loss is ClsHead._get_loss
    )
    if not plain:
        raise UsageError(
            f"DistilledClassifier has the head {type(head).__name__}, wanted one whose loss is "
            "ClsHead's: LogitsHead, LinearClsHead, StackedLinearClsHead, VisionTransformerClsHead"
        )


def _check_classes(student_BN: Tensor, teacher_BN: Tensor) -> None:
    if student_BN.shape != teacher_BN.shape:
        raise UsageError(
            f"the teacher gives logits {tuple(teacher_BN.shape)}, the student "
            f"{tuple(student_BN.shape)}: both have to know the same classes. Take a teacher that "
            "was trained on this data"
        )
