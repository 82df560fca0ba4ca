"""Two small images with what each kind of model learns from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from .cases import Case

BOXES = ((8, 8, 56, 72), (40, 20, 120, 110), (64, 60, 100, 90))
COARSE_SEMANTICS = 8
"""HTC and SCNet learn from labels at this stride."""


def batch(cfg: Config, case: Case, training: bool) -> dict[str, Any]:
    """What a data loader would hand to the model: two images to learn from, or one to predict.

    The image to predict has odd sides.
    """
    make = {"segmentor": _segmented, "tracker": _frames, "teacher": _branches}.get(
        case.kind, _detected
    )
    return make(cfg, case, training)


def _image(size: tuple[int, int], frames: int | None = None) -> torch.Tensor:
    shape = (3, *size) if frames is None else (frames, 3, *size)
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def _size(case: Case, training: bool) -> tuple[int, int]:
    height, width = case.size
    return (height, width) if training or not case.odd else (height - 1, width - 1)


def _meta(size: tuple[int, int]) -> dict[str, Any]:
    return dict(
        img_shape=size,
        ori_shape=size,
        pad_shape=size,
        batch_input_shape=size,
        scale_factor=(1.0, 1.0),
        flip=False,
        flip_direction=None,
        img_id=0,
        img_path="none.jpg",
        border=[0, size[0], 0, size[1]],
        text="person. car.",
        custom_entities=True,
        frame_id=0,
        video_length=2,
        ori_video_length=2,
        reduce_zero_label=False,
        homography_matrix=np.eye(3, dtype=np.float32),
    )


def _instances(size: tuple[int, int], boxes: tuple, ids: bool = False) -> InstanceData:
    masks = np.zeros((len(boxes), *size), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = 1
    instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.zeros(len(boxes), dtype=torch.long),
        masks=BitmapMasks(masks, *size),
    )
    if ids:
        instances.instances_ids = torch.arange(len(boxes))
    return instances


def _sample(size: tuple[int, int], boxes: tuple, semantics: int = 1, **more: Any) -> DetDataSample:
    sample = DetDataSample(metainfo=_meta(size))
    sample.gt_instances = _instances(size, boxes, **more)
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    labels = torch.zeros(1, size[0] // semantics, size[1] // semantics, dtype=torch.uint8)
    sample.gt_sem_seg = PixelData(sem_seg=labels)
    return sample


def _contents(case: Case, training: bool) -> list[tuple]:
    """The boxes of each image."""
    return [BOXES, () if case.empty else BOXES[:1]] if training else [BOXES]


def _detected(cfg: Config, case: Case, training: bool) -> dict[str, Any]:
    size = _size(case, training)
    head = cfg.model.get("roi_head")
    semantics = COARSE_SEMANTICS if isinstance(head, dict) and head.get("semantic_head") else 1
    samples = [_sample(size, boxes, semantics) for boxes in _contents(case, training)]
    if case.kind == "proposals":
        for sample in samples:
            sample.proposals = InstanceData(
                bboxes=torch.tensor(BOXES, dtype=torch.float32), scores=torch.ones(len(BOXES))
            )
    return dict(inputs=[_image(size) for _ in samples], data_samples=samples)


def _segmented(cfg: Config, case: Case, training: bool) -> dict[str, Any]:
    size = _size(case, training)
    samples = []
    for _ in range(2 if training else 1):
        labels = torch.zeros(1, *size, dtype=torch.long)
        labels[:, size[0] // 2 :] = 1
        labels[:, :, : size[1] // 4] = 255
        sample = SegDataSample(metainfo=_meta(size))
        sample.gt_sem_seg = PixelData(data=labels)
        sample.gt_edge_map = PixelData(data=torch.zeros(1, *size))
        samples.append(sample)
    return dict(inputs=[_image(size) for _ in samples], data_samples=samples)


def _frames(cfg: Config, case: Case, training: bool) -> dict[str, Any]:
    """Pairs of frames, of which the first is the key, or one video of two."""
    size, samples = _size(case, training), []
    for boxes in _contents(case, training):
        metainfo = dict(key_frames_inds=[0], ref_frames_inds=[1]) if training else {}
        track = TrackDataSample(metainfo=metainfo)
        track.video_data_samples = [
            _sample(size, boxes, ids=True) for _ in range(2 if training else 1)
        ]
        for i, sample in enumerate(track.video_data_samples):
            sample.set_metainfo(dict(frame_id=i))
        samples.append(track)
    images = [_image(size, len(sample)) for sample in samples]
    return dict(inputs=images, data_samples=samples)


def _branches(cfg: Config, case: Case, training: bool) -> dict[str, Any]:
    """Labelled images, and unlabelled ones as the teacher and as the student sees them."""
    plain = _detected(cfg, case, training)
    if not training:
        return plain
    branches = {
        name: _detected(cfg, case, training) for name in ("sup", "unsup_teacher", "unsup_student")
    }
    return {key: {name: branch[key] for name, branch in branches.items()} for key in plain}
