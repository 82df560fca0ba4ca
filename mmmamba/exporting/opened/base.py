"""What models that run an exported file share."""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..runtimes import Runtime, open_runtime
from .preprocessor import ExportedPreprocessor


class RunsFile:
    """A file in the place of a network: it has no maps to give, and learns nothing."""

    def _open(
        self, path: str, device: str, threads: int | None, runtime: Runtime | None, task: str
    ) -> None:
        """Open the file, or take a runtime that has, and prepare images as it wants them.

        Raises:
            UsageError: it cannot be opened, or does something else than the task.
        """
        self.runtime = runtime or open_runtime(path, device, threads)
        self.metadata = self.runtime.metadata
        if self.metadata.task != task:
            raise UsageError(f"{path} is a file for {self.metadata.task}, wanted one for {task}")
        self.data_preprocessor = ExportedPreprocessor(self.metadata, path)
        self.path = path

    def extract_feat(self, inputs: Any) -> Any:
        raise UsageError(f"{self.path} gives results alone: its maps stay inside")

    def loss(self, inputs: Any, data_samples: Any) -> Any:
        raise UsageError(f"{self.path} cannot be trained: train the model that it was exported of")

    def _forward(self, inputs: Any, data_samples: Any = None) -> Any:
        return self.extract_feat(inputs)
