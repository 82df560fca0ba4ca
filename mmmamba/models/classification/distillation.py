"""What a classifier learns from another's logits: the formulas, and how they are weighed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor

from mmmamba.errors import UsageError
from mmmamba.suggest import did_you_mean

Settings = TypeVar("Settings")


def soft_loss(student_BN: Tensor, teacher_BN: Tensor, temperature: float) -> Tensor:
    """`T² · KL(softmax(teacher / T) ‖ softmax(student / T))`, the mean over the batch.

    (Hinton et al., arXiv 1503.02531.) The factor keeps gradients as large at any temperature T.
    """
    ours = (student_BN.float() / temperature).log_softmax(1)
    theirs = (teacher_BN.float() / temperature).log_softmax(1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def hard_loss(student_BN: Tensor, teacher_BN: Tensor) -> Tensor:
    """Cross entropy with the teacher's first choice as the label (DeiT, arXiv 2012.12877)."""
    return F.cross_entropy(student_BN.float(), teacher_BN.argmax(1))


def mesa_loss(student_BN: Tensor, average_BN: Tensor) -> Tensor:
    """Cross entropy with what the average of the student's weights believes (arXiv 2205.14083)."""
    return F.cross_entropy(student_BN.float(), average_BN.float().softmax(1))


@dataclass(frozen=True)
class Distillation:
    """How a teacher's logits are learnt: `label_weight · labels' loss + weight · teacher's loss`.

    Args:
        kind: "hard" learns the teacher's first choice, "soft" all that it believes.
        weight: of the teacher's loss; alpha in DeiT's mix.
        label_weight: of the labels' loss; `1 - weight` if None.
        temperature: softens both beliefs, for "soft" alone.

    Raises:
        UsageError: a value that cannot be.
    """

    kind: str = "hard"
    weight: float = 0.5
    label_weight: float | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("hard", "soft"):
            raise UsageError(f"distillation.kind is {self.kind!r}, wanted 'hard' or 'soft'")
        if not self.weight > 0 or (self.label_weight is None and self.weight > 1):
            raise UsageError(
                f"distillation.weight is {self.weight}, wanted a number above 0, and at most 1 "
                "where the labels' loss gets what is left: say label_weight=1 to add the two"
            )
        if self.label_weight is not None and self.label_weight < 0:
            raise UsageError(f"distillation.label_weight is {self.label_weight}, wanted 0 or more")
        if not self.temperature > 0 or (self.kind == "hard" and self.temperature != 1):
            raise UsageError(
                f"distillation.temperature is {self.temperature} with kind='{self.kind}', wanted a "
                "number above 0, and none for 'hard', which knows no temperature"
            )

    @property
    def of_labels(self) -> float:
        """The weight of the labels' loss."""
        return 1 - self.weight if self.label_weight is None else self.label_weight

    def __call__(self, student_BN: Tensor, teacher_BN: Tensor) -> Tensor:
        """The teacher's loss, weighed."""
        if self.kind == "hard":
            return self.weight * hard_loss(student_BN, teacher_BN)
        return self.weight * soft_loss(student_BN, teacher_BN, self.temperature)


def settings(kind: type[Settings], name: str, given: Mapping[str, Any]) -> Settings:
    """A dataclass made of a config's dictionary.

    Raises:
        UsageError: a key that it does not take, or none for what it needs.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise UsageError(
                f"{name} has no {key!r}.{did_you_mean(key, known)} It takes {', '.join(known)}"
            )
    try:
        return kind(**given)
    except TypeError as error:
        raise UsageError(
            f"{name} is {dict(given)}, which lacks something: {error}. It takes {', '.join(known)}"
        ) from error
