"""A file that tells classes of pixels, as a segmentor of mmseg's."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn.functional import interpolate

from .base import RunsFile
from .batches import run_batch
from .preprocessor import as_arrays

logger = logging.getLogger("mmmamba")


@MODELS.register_module()
class ExportedSegmentor(RunsFile, BaseSegmentor):
    """An exported segmentor, with what a runtime of its format finds.

    Logits become label maps as mmseg makes them. Label maps are brought to the size of the image
    pixel by pixel, which is said once: at borders they differ from those of scaled logits.
    """

    task = "segmentation"
    align_corners = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # mmseg compares heads of one channel with it.
        self.decode_head = SimpleNamespace(threshold=self.metadata.mask_threshold)
        self._told = False

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """The class of each pixel, and logits where the file gives them."""
        outputs = run_batch(self.runtime, as_arrays(images=inputs))
        found = {name: torch.from_numpy(value) for name, value in outputs.items()}
        if "logits" in found:
            return self.postprocess_result(found["logits"].to(inputs.device), data_samples)
        samples = data_samples or [SegDataSample() for _ in inputs]
        for labels_HW, sample in zip(found["labels"].to(inputs.device), samples):
            sample.pred_sem_seg = PixelData(data=self._original(labels_HW, sample.metainfo)[None])
        return samples

    def _original(self, labels_HW: Tensor, meta: dict) -> Tensor:
        """A label map at the size of the image file, without padding."""
        if "ori_shape" not in meta:
            return labels_HW
        left, right, top, bottom = meta.get("img_padding_size", (0, 0, 0, 0))
        height, width = labels_HW.shape
        labels_HW = labels_HW[top : height - bottom, left : width - right]
        size = tuple(meta["ori_shape"][:2])
        if labels_HW.shape == size:
            return labels_HW
        if not self._told:
            logger.info(
                "%s gives label maps: they are brought to the images' own size pixel by pixel, and "
                "at borders mIoU differs from that of scaled logits (mmmamba export --logits)",
                self.path,
            )
            self._told = True
        # As floats, which hold every number of a class exactly: integers are not scaled.
        return interpolate(labels_HW[None, None].float(), size, mode="nearest-exact")[0, 0].long()

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any) -> Any:
        return self.extract_feat(inputs)
