"""A recorder that needs no GPU: what it records is called again instead of replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmmamba.ops.derivatives import watched


class Again:
    """Does what `CudaRecorder` does by the same calls.

    Args:
        waits: whether eager passes are taken for such that the device waits in.
    """

    def __init__(self, waits: bool = True):
        self.waits_always = waits
        self.recorded = 0
        self.running = False
        self.fails: BaseException | None = None
        self.bytes = 0

    def takes(self, x: Tensor) -> bool:
        return not watched()

    def prepare(self, run: Callable[[], None]) -> None:
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        if self.fails is not None:
            raise self.fails
        self.recorded += 1
        # A capture calls the function as well.
        self.running = True
        try:
            run()
        finally:
            self.running = False
        return run

    def recover(self) -> None:
        pass

    def begin(self, x: Tensor) -> Again:
        return self

    def end(self) -> None:
        pass

    def waits(self) -> bool:
        return self.waits_always

    def reserved(self) -> int:
        self.bytes += 2**20
        return self.bytes

    def free(self) -> int:
        return 2**30

    def release(self) -> None:
        pass

    def random_state(self) -> Tensor:
        return torch.get_rng_state()

    def set_random_state(self, state: Tensor) -> None:
        torch.set_rng_state(state)
