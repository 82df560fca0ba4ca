"""Testing in half precision."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..bare_model import bare_model
from ..precision import Precision
from ..predicting import predict_in


class PrecisionHook(Hook):
    """Has the runner's network predict in a precision while it is tested."""

    def __init__(self, precision: Precision):
        self.precision = precision

    def before_test(self, runner: Runner) -> None:
        # Within test-time augmentation: what it merges are results, in float32.
        predict_in(bare_model(runner.model), self.precision)
