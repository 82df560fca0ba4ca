"""Mamba YOLO as a whole (arXiv 2406.05835)."""

from os import PathLike
from typing import Mapping

from mmdet.models.detectors import SingleStageDetector
from mmengine.registry import MODELS
from torch import Tensor

from mmmamba.checkpoints import Report, is_pretrained, load_init_cfg, load_weights


@MODELS.register_module()
class MambaYOLO(SingleStageDetector):
    """mmdet's `SingleStageDetector` that can start from a file its authors' program wrote.

    `init_cfg=dict(type="Pretrained", checkpoint="best.pt")` loads such a file whole, without running what it holds.
    """

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
        """Load a user's trained file, its state dict or our own, and return the report.

        Raises:
            CheckpointError: weights that do not fit.
        """
        return load_weights(self, weights)
