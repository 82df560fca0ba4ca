"""What models that run an exported file share."""

from __future__ import annotations

from typing import Any, ClassVar

from ...errors import UsageError
from ..runtimes import Runtime, open_runtime
from .preprocessor import ExportedPreprocessor


class RunsFile:
    """A file in the place of a network: it has no maps to give, learns nothing, has no parameters.

    Before the library's base class, whose constructor it calls. Images are prepared as the file
    wants them.

    Args:
        path: of the file.
        device: that the runtime uses.
        threads: of the runtime on a CPU; its own choice if None.
        runtime: that of the file, where it is open already.

    Raises:
        UsageError: the file cannot be opened, or does something else than the class's task.
    """

    task: ClassVar[str]

    def __init__(
        self,
        path: str,
        device: str = "cpu",
        threads: int | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        super().__init__()
        self.runtime = runtime or open_runtime(path, device, threads)
        self.metadata = self.runtime.metadata
        if self.metadata.task != self.task:
            raise UsageError(
                f"{path} is a file for {self.metadata.task}, wanted one for {self.task}"
            )
        self.data_preprocessor = ExportedPreprocessor(self.metadata, path)
        self.path = path

    def extract_feat(self, inputs: Any) -> Any:
        raise UsageError(f"{self.path} gives results alone: its maps stay inside")

    def loss(self, inputs: Any, data_samples: Any) -> Any:
        raise UsageError(f"{self.path} cannot be trained: train the model that it was exported of")

    def _forward(self, inputs: Any, data_samples: Any = None) -> Any:
        return self.extract_feat(inputs)
