"""Loading for MMEngine's modules: nothing half, nothing in silence."""

from collections.abc import Mapping
from os import PathLike

from torch import Tensor

from mmmamba.checkpoints import Report, is_pretrained, load_init_cfg, load_weights


class StrictLoading:
    """Put before `BaseModule` among the bases."""

    def init_weights(self) -> None:
        """As mmengine's, but `Pretrained` goes through our strict loader.

        Raises:
            CheckpointError: weights that do not fit.
        """
        if not is_pretrained(self.init_cfg):
            super().init_weights()
        elif not self.is_init:
            load_init_cfg(self, self.init_cfg)
            self._is_init = True

    def load_weights(self, weights: str | PathLike | Mapping[str, Tensor]) -> Report:
        """Load published weights, a detector's file, a user's own or ours, and return the report.

        Raises:
            CheckpointError: weights that do not fit.
        """
        return load_weights(self, weights)
