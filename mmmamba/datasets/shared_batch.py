"""Batches that cross from a loader's worker in one piece.

By itself a loader opens a file of shared memory for each tensor, and hands it over by a connection
of its own with a handshake in Python on both sides. Two images with boxes and masks take twelve,
one after the other, in the one thread that serves all workers.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from torch import Tensor

ALIGNMENT = 64
"""Bytes: where a tensor may begin, whatever its type."""


@FUNCTIONS.register_module()
def shared_collate(samples: Sequence[dict]) -> SharedBatch:
    """mmengine's `pseudo_collate`, whose batch crosses in one piece.

    For `collate_fn` of a data loader. Images may have different sizes.
    """
    return SharedBatch(pseudo_collate(samples))


class SharedBatch(dict):
    """A batch whose tensors are one piece of shared memory when it leaves a worker.

    Elsewhere it is the `dict` that it was made from. A loader that pins memory pins all of it at
    once, boxes and masks too, which otherwise only images are.
    """

    _piece: _Piece | None = None

    def __reduce__(self) -> tuple:
        return _unpack, (type(self), *_pack(dict(self)))

    def pin_memory(self) -> SharedBatch:
        """The same batch in memory from which a GPU copies while Python goes on."""
        if self._piece is None:
            return _unpack(type(self), *_pack(dict(self))).pin_memory()
        self._piece.move(self._piece.buffer.pin_memory())
        return self


class _Place(NamedTuple):
    """Where a tensor lies in the piece."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def of(self, buffer: Tensor) -> Tensor:
        return buffer[self.offset : self.end].view(self.dtype).view(self.shape)


class _Piece:
    """Shared memory, and the tensors that lie in it."""

    def __init__(self, buffer: Tensor, places: Sequence[_Place]):
        self.buffer, self.places = buffer, places
        self.tensors = [place.of(buffer) for place in places]

    def move(self, buffer: Tensor) -> None:
        """Lets all tensors lie in a copy of the memory; whoever holds one holds the moved one."""
        self.buffer = buffer
        for tensor, place in zip(self.tensors, self.places):
            tensor.data = place.of(buffer)


class _Writer(ForkingPickler):
    """Leaves numbers in place of tensors, and collects these."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.tensors: dict[int, Tensor] = {}
        self._numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        # Others, such as parameters, cross as they always do.
        if type(obj) is not Tensor or obj.requires_grad or not _is_plain(obj):
            return None
        number = self._numbers.setdefault(id(obj), len(self._numbers))
        self.tensors[number] = obj
        return number


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.layout is torch.strided


class _Reader(pickle.Unpickler):
    """Puts the tensors back."""

    def __init__(self, content: bytes, tensors: Sequence[Tensor]):
        super().__init__(io.BytesIO(content))
        self._tensors = tensors

    def persistent_load(self, pid: int) -> Tensor:
        return self._tensors[pid]


def _pack(batch: dict) -> tuple[bytes, Tensor, list[_Place]]:
    content = io.BytesIO()
    writer = _Writer(content)
    writer.dump(batch)
    tensors = list(writer.tensors.values())
    places: list[_Place] = []
    end = 0
    for tensor in tensors:
        begin = -(-end // ALIGNMENT) * ALIGNMENT
        places.append(_Place(begin, tensor.shape, tensor.dtype))
        end = places[-1].end
    # Shared while it is empty; afterwards it would be copied.
    buffer = torch.empty(end, dtype=torch.uint8).share_memory_()
    for tensor, place in zip(tensors, places):
        place.of(buffer).copy_(tensor)
    return content.getvalue(), buffer, places


def _unpack(
    kind: type[SharedBatch], content: bytes, buffer: Tensor, places: list[_Place]
) -> SharedBatch:
    piece = _Piece(buffer, places)
    batch = kind(_Reader(content, piece.tensors).load())
    batch._piece = piece
    return batch
