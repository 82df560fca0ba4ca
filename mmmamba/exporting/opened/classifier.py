"""A file that tells classes of images, as a classifier of mmpretrain's."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from mmpretrain.models.classifiers import BaseClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from .base import RunsFile
from .batches import run_batch
from .preprocessor import as_arrays


@MODELS.register_module()
class ExportedClassifier(RunsFile, BaseClassifier):
    """An exported classifier, with what a runtime of its format finds."""

    task = "classification"

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor"
    ) -> Any:
        if mode == "predict":
            return self.predict(inputs, data_samples)
        return self.loss(inputs, data_samples) if mode == "loss" else self.extract_feat(inputs)

    def predict(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """The scores of all classes, which add up to 1, and the surest class."""
        found = run_batch(self.runtime, as_arrays(images=inputs))
        given = torch.from_numpy(found[self.metadata.outputs[0]]).to(inputs.device)
        scores_BC = given.softmax(1) if "logits" in found else given
        samples = data_samples or [DataSample() for _ in inputs]
        for sample, scores_C in zip(samples, scores_BC):
            sample.set_pred_score(scores_C).set_pred_label(scores_C.argmax(0, keepdim=True))
        return samples
