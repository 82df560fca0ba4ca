"""Batches that cross in one piece arrive as mmengine's would."""

import copy

import numpy as np
import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from mmmamba.datasets.shared_batch import SharedBatch, shared_collate
from mmmamba.structures.packed_masks import PackedMasks


class Images(Dataset):
    """Four images of several sizes, one without objects."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng(index)
        height, width, count = 20 + 7 * index, 30 - 5 * index, (3, 0, 1, 5)[index]
        pixels = rng.integers(0, 2, (count, height, width), dtype=np.uint8)
        sample = DetDataSample(metainfo=dict(img_shape=(height, width), flip=index % 2 == 0))
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(rng.uniform(0, 20, (count, 4)).astype(np.float32)),
            labels=torch.from_numpy(rng.integers(0, 80, count)),
            masks=PackedMasks(pixels, height, width),
        )
        image = torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))
        return dict(inputs=image, data_samples=sample)


def tensors(batch: dict) -> list[torch.Tensor]:
    found = list(batch["inputs"])
    for sample in batch["data_samples"]:
        gts = sample.gt_instances
        found += [gts.bboxes, gts.labels, gts.masks.bits]
    return found


def check(got: dict, wanted: dict) -> None:
    assert got.keys() == wanted.keys()
    for one, other in zip(tensors(got), tensors(wanted), strict=True):
        assert one.dtype == other.dtype and one.equal(other)
    for one, other in zip(got["data_samples"], wanted["data_samples"], strict=True):
        assert type(one) is DetDataSample and one.metainfo == other.metainfo
        masks, wanted_masks = one.gt_instances.masks, other.gt_instances.masks
        assert type(masks) is PackedMasks
        assert (masks.height, masks.width) == (wanted_masks.height, wanted_masks.width)


def storages(batch: dict) -> set[int]:
    return {one.untyped_storage().data_ptr() for one in tensors(batch)}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_of_a_config_gives_the_same_batches(workers):
    """From a worker all in one piece."""
    loader = Runner.build_dataloader(
        ConfigDict(
            batch_size=2,
            num_workers=workers,
            dataset=Images(),
            sampler=dict(type="DefaultSampler", shuffle=False),
            collate_fn=dict(type="shared_collate"),
        )
    )
    data = Images()
    for index, got in enumerate(loader):
        check(got, pseudo_collate([data[2 * index], data[2 * index + 1]]))
        assert isinstance(got, dict)
        assert (len(storages(got)) == 1) == (workers == 1)


def test_whoever_holds_a_tensor_holds_the_moved_one():
    wanted = pseudo_collate([Images()[0], Images()[1]])
    batch = copy.copy(SharedBatch(wanted))
    held = tensors(batch)
    before = storages(batch)
    batch._piece.move(batch._piece.buffer.clone())
    check(batch, wanted)
    assert len(storages(batch)) == 1 and storages(batch).isdisjoint(before)
    assert all(one is other for one, other in zip(held, tensors(batch)))


def test_the_same_tensor_twice_stays_one():
    image = torch.arange(6)
    batch = copy.copy(SharedBatch(inputs=[image, image], data_samples=[]))
    assert batch["inputs"][0] is batch["inputs"][1]
    assert batch["inputs"][0].equal(image)


def test_what_is_no_plain_tensor_arrives_too():
    parameter = torch.nn.Parameter(torch.ones(3))
    batch = copy.copy(SharedBatch(inputs=[parameter, np.arange(3), "name"], data_samples=None))
    first, second, third = batch["inputs"]
    assert isinstance(first, torch.nn.Parameter) and first.equal(parameter)
    assert second.tolist() == [0, 1, 2] and third == "name"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("crossed", [True, False])
def test_all_of_a_batch_is_pinned(crossed):
    wanted = pseudo_collate([Images()[0], Images()[3]])
    batch = SharedBatch(wanted)
    pinned = (copy.copy(batch) if crossed else batch).pin_memory()
    check(pinned, wanted)
    assert all(one.is_pinned() for one in tensors(pinned))


def test_it_is_registered():
    assert FUNCTIONS.get("shared_collate") is shared_collate
