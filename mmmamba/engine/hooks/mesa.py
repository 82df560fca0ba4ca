"""Self-distillation from the average of a classifier's weights (MESA)."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...errors import UsageError
from ...models.classification.distilled_classifier import DistilledClassifier
from ..bare_model import bare_model


@HOOKS.register_module()
class MESAHook(Hook):
    """Adds `weight · CE(logits, softmax(average's logits))` to a `DistilledClassifier`'s losses.

    The average is the one of the run's `EMAHook`, in evaluation and without gradients, asked about
    the same batch (Du et al., arXiv 2205.14083; MambaVision, VSSD, MLLA, Spatial-Mamba).

    Args:
        weight: 1.0, 1.5 and 2.0 for the tiny, small and base models of VSSD and MLLA.
        begin: the share of the training after which it begins.

    Raises:
        UsageError: a weight or a beginning that cannot be.
    """

    def __init__(self, weight: float = 1.0, begin: float = 0.25):
        if not weight > 0:
            raise UsageError(f"MESAHook.weight is {weight}, wanted a number above 0")
        if not 0 <= begin < 1:
            raise UsageError(
                f"MESAHook.begin is {begin}, wanted a share of the training, from 0 to below 1"
            )
        self.weight, self.begin = weight, begin

    def before_train(self, runner: Runner) -> None:
        """Hand the average over.

        Raises UsageError where the model takes none, or the run has none.
        """
        model = bare_model(runner.model)
        if not isinstance(model, DistilledClassifier):
            raise UsageError(
                f"MESAHook: the model is a {type(model).__name__}, wanted "
                "model=dict(type='DistilledClassifier', ...), which takes what ImageClassifier does"
            )
        averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        if not averages:
            raise UsageError(
                "MESAHook: the run averages no weights; add dict(type='EMAHook', momentum=1e-4) to "
                "custom_hooks"
            )
        model.learn_from_average(averages[0].ema_model.module)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # By the number of the step alone, which a resumed run has from its checkpoint.
        begun = runner.iter >= self.begin * runner.max_iters
        bare_model(runner.model).mesa_weight = self.weight if begun else 0.0

    def after_train(self, runner: Runner) -> None:
        model = bare_model(runner.model)
        model.learn_from_average(None)
        model.mesa_weight = 0.0
