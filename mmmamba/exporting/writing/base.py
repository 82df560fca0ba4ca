"""What all writers share: a job, and the program that it traces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ...errors import UsageError
from ..graphs import Graph
from ..metadata import Metadata
from ..request import Request, Subject
from ..tracing import trace

TRACED = (225, 191)
"""Height and width that a file for all sizes is traced at: odd and different."""
IMAGES = 2
"""As many at once, for one alone would be taken for a rule."""


@dataclass(frozen=True)
class Job:
    """A graph, and the file that is wanted of it."""

    graph: Graph
    metadata: Metadata
    request: Request
    subject: Subject
    log: Callable[[str], object]

    @property
    def multiple(self) -> int:
        """What the sides of the images that reach the network are multiples of."""
        return math.lcm(self.metadata.inputs.multiple, self.metadata.inputs.size_divisor)

    def program(self, lowered: bool = True, unrolled: bool = False) -> ExportedProgram:
        """The traced graph.

        Args:
            lowered, unrolled: as `trace` takes them.

        Raises:
            UsageError: a part of it that cannot be traced, or not at every size.
        """
        try:
            return trace(
                self.graph,
                self.inputs(),
                self.request.dynamic,
                lowered,
                unrolled,
                multiple=self.multiple,
            )
        except (torch._dynamo.exc.UserError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            cure = " Name a size: --size H W" if self.request.dynamic else ""
            raise UsageError(
                f"{type(self.subject.model).__name__} of {self.subject.config} cannot be "
                f"exported so: {reason}.{cure}"
            ) from error

    def inputs(self) -> Sequence[Tensor]:
        """Zeros of the file's size, or of one that stands for all."""
        given = self.metadata.inputs
        height, width = given.size or (-(-side // self.multiple) * self.multiple for side in TRACED)
        batch = given.batch or IMAGES
        weight = next(self.graph.parameters(), torch.empty(0))
        images = torch.zeros(batch, given.channels, height, width, device=weight.device)
        sizes = torch.tensor([[height, width]], device=weight.device).expand(batch, 2).clone()
        return [images, sizes][: len(self.graph.input_names)]


class Writer(Protocol):
    """Writes files of one format."""

    needs: tuple[str, ...]
    """Modules beyond PyTorch, of the extra `[export]`."""

    def write(self, job: Job, path: Path) -> None:
        """Write the file, and beside it what belongs to it."""

    def describe(self, path: Path, metadata: Metadata) -> None:
        """Write into the finished file what it says of itself."""
