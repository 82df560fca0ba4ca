"""Going on from a checkpoint as if nothing had happened: the same batches, augmentations and random
numbers."""

from .batches import CountedBatches, SeededDataset, count_batches
from .loops import ResumableEpochLoop, ResumableIterLoop
from .newest import file_fault, go_on, newest_whole

__all__ = [
    "CountedBatches",
    "ResumableEpochLoop",
    "ResumableIterLoop",
    "SeededDataset",
    "count_batches",
    "file_fault",
    "go_on",
    "newest_whole",
]
