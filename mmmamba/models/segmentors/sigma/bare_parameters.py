"""Parameters that stand in a module of their own kind, not in a layer of PyTorch's."""

from collections.abc import Iterator

from torch import nn

LAYERS = (nn.Linear, nn.LayerNorm, nn.Conv2d)


def bare_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters of linear layers, convolutions and norms left out.

    They are what an optimizer forgets that collects the weights of layers by their kind: the state
    space's own (`A_logs`, `Ds`, `dt_projs_weight`, …) and scales.
    """
    for prefix, part in module.named_modules():
        if not isinstance(part, LAYERS):
            for name, parameter in part.named_parameters(recurse=False):
                yield f"{prefix}.{name}" if prefix else name, parameter


def freeze_bare_parameters(module: nn.Module) -> None:
    """Take them out of training."""
    for _, parameter in bare_parameters(module):
        parameter.requires_grad_(False)
