"""A data loader that starts at any iteration without reading what lies before it.

Each sample knows the seed of its random numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from mmengine.dist import get_rank
from mmengine.logging import print_log
from torch.utils.data import DataLoader, IterableDataset, Sampler

from ..seeding import seed_all
from ..workers import DeafWorker

HOLDERS = ("_dataset", "dataset", "datasets", "pipeline", "transforms", "transform")
"""Attributes below which data sets and transforms keep other ones."""


class Key(NamedTuple):
    """What a sample is asked for by: which one it is, and where in the training it stands."""

    iteration: int
    place: int
    """In the batch."""
    sample: int
    """Its index in the data set."""
    before: tuple[Key, ...] | None = None
    """With the first sample of a worker: those that its caches would hold by now, oldest first."""


@dataclass(frozen=True)
class Start:
    """Where in the data a pass begins."""

    iteration: int = 0
    """That the first batch is for."""
    skip: int = 0
    """Batches that are left out."""
    cached: int = 0
    """Samples that the caches of a worker remember."""


class CountedBatches(Sampler):
    """The batches of a batch sampler, each index with its iteration and place, from any batch on.

    Args:
        batches: yields lists of indices; also one that ends or never ends by itself.
        endless: begin again, in the next epoch's order, where the batches end.
        workers: that take turns with the batches.
    """

    def __init__(self, batches: Iterable[list[int]], endless: bool, workers: int) -> None:
        self.batches, self.endless, self.workers = batches, endless, workers
        self.start = Start()
        # Hooks look for these.
        self.sampler = getattr(batches, "sampler", None)
        self.batch_size = getattr(batches, "batch_size", None)
        self.drop_last = getattr(batches, "drop_last", False)

    def begin(self, start: Start) -> None:
        """Have the next pass, and only that one, begin elsewhere than at its first batch."""
        self.start = start

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Key]]:
        start, self.start = self.start, Start()
        # Skipped batches are counted, too, so that the first one that is read is `start.iteration`.
        first = start.iteration - start.skip
        # What the caches of all workers can hold is among the last of the batches that are skipped.
        # More than enough where batches are smaller than they could be: one sample each is assumed.
        skipped: deque[list[Key]] = deque(maxlen=self.workers * start.cached)
        for number, indices in enumerate(self._indices()):
            batch = [Key(first + number, place, index) for place, index in enumerate(indices)]
            if number < start.skip:
                skipped.append(batch)
                continue
            # The first batch of each worker: its caches are filled before it is read.
            turn = number - start.skip
            if turn < self.workers:
                before = _seen_by_worker([*skipped], turn, self.workers)
                recent = before[max(len(before) - start.cached, 0) :]
                batch[0] = batch[0]._replace(before=tuple(recent))
            yield batch

    def _indices(self) -> Iterator[list[int]]:
        """The lists of indices, over one epoch or over all."""
        for epoch in count(1):
            batches = iter(self.batches)
            # No batch at all would have an endless pass turn here for ever.
            first = next(batches, None)
            if first is None:
                return
            yield first
            yield from batches
            if not self.endless:
                return
            if hasattr(self.sampler, "set_epoch"):
                self.sampler.set_epoch(epoch)


def _seen_by_worker(skipped: list[list[Key]], turn: int, workers: int) -> list[Key]:
    """The samples of skipped batches that one worker would have read.

    Workers take turns, so that a worker has every batch that is a multiple of their number before
    the one that it begins with.

    Args:
        skipped: the batches right before the first that is read.
        turn: of the batch that the worker begins with, from the first that is read.
    """
    # The worker's next batch would stand at len(skipped) + turn of this list; the others that are
    # its own are a multiple of `workers` before that.
    oldest = (len(skipped) + turn) % workers
    return [key for batch in skipped[oldest::workers] for key in batch]


class SeededDataset:
    """A data set that answers a `Key` with random numbers of that key's own.

    Everything else is the inner one's. Transforms with a cache (`CachedMosaic`) start each pass
    with an empty one and drop the oldest of it.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        # Not by assignment, which goes to the inner data set. The rank is asked for here: a worker
        # that is spawned knows no other processes and would take itself for the first.
        self.__dict__.update(_dataset=dataset, _key=(seed, get_rank()))

    def __getitem__(self, key: Key) -> Any:
        # Before the seeding, as reading draws random numbers. An empty `before` counts: it has the
        # caches of the last pass emptied.
        if key.before is not None:
            self._fill_caches(key.before)
        # From 1, because a key with a 0 behind it is that of the training step itself.
        seed_all(*self._key, key.iteration, key.place + 1)
        return self._dataset[key.sample]

    def _fill_caches(self, before: tuple[Key, ...]) -> None:
        """Read what a worker's caches would hold, had it read all that lies before."""
        for transform in cached_transforms(self._dataset):
            transform.results_cache.clear()
            # Dropped at random, what a cache holds would follow from all that was ever read.
            transform.random_pop = False
        # These have no `before` of their own, so this goes no deeper.
        for key in before:
            self[key]

    def __len__(self) -> int:
        return len(self._dataset)

    def __getattr__(self, name: str) -> Any:
        # Special methods are asked for before there is an inner data set (unpickling), or in its
        # place (__getitems__).
        if name.startswith("__") or "_dataset" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._dataset, name, value)


def cached_transforms(node: Any) -> list[Any]:
    """Transforms that keep samples of before, wherever they stand in a data set's pipelines."""
    if isinstance(node, (list, tuple)):
        inner = [*node]
    else:
        # Not by getattr, which wrappers (`SeededDataset`) answer with what the inner one has: its
        # transforms would be found twice.
        members = getattr(node, "__dict__", {})
        inner = [members[name] for name in HOLDERS if name in members]
    found = [node] if hasattr(node, "results_cache") else []
    for one in inner:
        found += cached_transforms(one)
    return found


def count_batches(loader: DataLoader, seed: int, endless: bool) -> DataLoader:
    """The same loader over `CountedBatches` and a `SeededDataset`, its workers deaf to signals.

    A loader without batches of indices is given back as it is, with a line in the log.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        print_log(
            "the training data have no batches of indices: resuming reads them from the start",
            "current",
            30,
        )
        return loader
    # PyTorch refuses it without workers.
    options = dict(prefetch_factor=loader.prefetch_factor) if loader.num_workers else {}
    return DataLoader(
        SeededDataset(loader.dataset, seed),
        batch_sampler=CountedBatches(loader.batch_sampler, endless, max(loader.num_workers, 1)),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=DeafWorker(loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        persistent_workers=loader.persistent_workers,
        **options,
    )
