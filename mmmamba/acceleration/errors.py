"""What goes wrong with CUDA graphs."""


class GraphError(RuntimeError):
    """A model cannot be captured or replayed as it is used; the message says what to do."""
