"""A data loader that starts at any iteration without reading what lies before it, and whose samples
know their seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from mmengine.dist import get_rank
from mmengine.logging import print_log
from torch.utils.data import DataLoader, IterableDataset, Sampler

from ..seeding import seed_all
from ..workers import DeafWorker

HOLDERS = ("_dataset", "dataset", "datasets", "pipeline", "transforms", "transform")
Key = tuple
"""Iteration, place in the batch, index of the sample; before a worker's first sample also the keys
of samples that its caches hold."""


class CountedBatches(Sampler):
    """The batches of a batch sampler, each index with its iteration and place, from any batch on.

    Args:
        batches: yields lists of indices; also one that ends or never ends by itself.
        endless: begin again, in the next epoch's order, where the batches end.
        workers: that take turns with the batches.
    """

    def __init__(self, batches: Iterable[list[int]], endless: bool, workers: int) -> None:
        self.batches, self.endless, self.workers = batches, endless, workers
        # Hooks look for these.
        self.sampler = getattr(batches, "sampler", None)
        self.batch_size = getattr(batches, "batch_size", None)
        self.drop_last = getattr(batches, "drop_last", False)
        self.begin(0, 0)

    def begin(self, iteration: int, skip: int, cached: int = 0) -> None:
        """The next pass leaves out `skip` batches; the first one that it yields is that of
        `iteration`.

        Args:
            cached: samples that a worker's caches remember.
        """
        self.iteration, self.skip, self.cached = iteration, skip, cached

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Key]]:
        iteration, skip, cached = self.iteration - self.skip, self.skip, self.cached
        self.begin(0, 0)
        # More than enough where batches are smaller than they could be.
        skipped: deque[list[Key]] = deque(maxlen=self.workers * cached)
        started = 0
        for indices in self._passes():
            batch = [(iteration, place, index) for place, index in enumerate(indices)]
            iteration += 1
            if skip:
                skip -= 1
                skipped.append(batch)
                continue
            if started < self.workers:
                # The worker of this batch would have had every so-manieth of those before.
                turns = [*skipped][(len(skipped) + started) % self.workers :: self.workers]
                own = [key for one in turns for key in one]
                batch[0] = (*batch[0], own[max(len(own) - cached, 0) :])
                started += 1
            yield batch

    def _passes(self) -> Iterator[list[int]]:
        for epoch in count(1):
            batches = iter(self.batches)
            first = next(batches, None)
            if first is None:
                return
            yield first
            yield from batches
            if not self.endless:
                return
            if hasattr(self.sampler, "set_epoch"):
                self.sampler.set_epoch(epoch)


class SeededDataset:
    """A data set that answers `Key` with random numbers of that key's own; everything else is the
    inner one's.

    Transforms with a cache (`CachedMosaic`) start each pass with an empty one and drop the oldest
    of it.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.__dict__.update(_dataset=dataset, _key=(seed, get_rank()))

    def __getitem__(self, key: Key) -> Any:
        iteration, place, index, *before = key
        for keys in before:
            for transform in cached_transforms(self._dataset):
                transform.results_cache.clear()
                transform.random_pop = False
            for one in keys:
                self[one]
        # From 1, because a key with a 0 behind it is that of the training step itself.
        seed_all(*self._key, iteration, place + 1)
        return self._dataset[index]

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
        return [found for one in node for found in cached_transforms(one)]
    inner = (
        [vars(node)[name] for name in HOLDERS if name in vars(node)]
        if hasattr(node, "__dict__")
        else []
    )
    return (
        [node, *cached_transforms(inner)]
        if hasattr(node, "results_cache")
        else cached_transforms(inner)
    )


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
