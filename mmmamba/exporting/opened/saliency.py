"""A file that tells saliency, as a segmentor of mmseg's."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmmamba.models.segmentors.saliency.segmentor import original

from .base import RunsFile
from .batches import run_batch
from .preprocessor import as_arrays


@MODELS.register_module()
class ExportedSaliency(RunsFile, BaseSegmentor):
    """An exported saliency model, with what a runtime of its format finds.

    What samples say of their condition has no effect: the file is for one.
    """

    task = "saliency"

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """The samples, each with `pred_saliency` at the size of its file."""
        outputs = run_batch(self.runtime, as_arrays(images=inputs))
        found = {name: torch.from_numpy(value) for name, value in outputs.items()}
        maps_BHW = found["saliency"] if "saliency" in found else found["logits"].sigmoid()
        samples = [SegDataSample() for _ in inputs] if data_samples is None else data_samples
        for map_HW, sample in zip(maps_BHW.to(inputs.device), samples):
            map_1HW = original(map_HW[None].float(), sample.metainfo)
            sample.set_data(dict(pred_saliency=PixelData(data=map_1HW)))
        return samples

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any) -> Any:
        return self.extract_feat(inputs)
