"""The errors of this package."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be had, read or loaded.

    The message says what was found, what was wanted and what to do.
    """


class UnfitError(CheckpointError):
    """Weights that are no clean match for a module.

    Args:
        finding: what was found and wanted.
        cure: what to do.
        names: of the tensors, ours, that are missing, left over or of another shape.
    """

    def __init__(self, finding: str, cure: str, names: list[str]) -> None:
        super().__init__(f"{finding}\n{cure}")
        self.finding, self.cure, self.names = finding, cure, names
