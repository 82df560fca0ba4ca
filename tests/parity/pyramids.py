"""Cases of a pyramid's classifier: what its stages return, and its logits."""

import functools
from typing import Any

import torch

from . import harness


def inside(model: torch.nn.Module, spec: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A classifier's logits for an input, and the maps `stage0` … before the steps down."""
    found: dict[str, torch.Tensor] = {}

    def keep(module, args, out_BHWC, name):
        found[name] = out_BHWC.permute(0, 3, 1, 2)

    hooks = [
        stage.register_forward_hook(functools.partial(keep, name=f"stage{i}"))
        for i, stage in enumerate(model.layers)
    ]
    logits = harness.run(model, spec)
    for hook in hooks:
        hook.remove()
    return found | {"logits": logits}


def check_classifier(case: dict[str, Any], model: torch.nn.Module, tolerance: float = 1e-4) -> None:
    """All outputs of a case, for its even and its odd input.

    Figures that were made in float64 are held to float64: the published weights are float32.
    """
    load(model, case)
    if case["precision"] == "float64":
        tolerance = harness.exactly(model, case)
    for suffix in ("", "_odd"):
        if f"input{suffix}" in case:
            found = inside(model, case[f"input{suffix}"])
            harness.compare(found, case[f"outputs{suffix}"], tolerance)


def check_maps(case: dict[str, Any], model: torch.nn.Module) -> None:
    """The maps that a backbone returns, as they are before its output norms: in float32."""
    load(model, case)
    for i in model.out_indices:
        setattr(model, f"outnorm{i}", torch.nn.Identity())
    suffix = "_odd" if "input_odd" in case else ""
    maps = harness.run(model, case[f"input{suffix}"])
    want = {f"stage{i}": case[f"outputs{suffix}"][f"stage{i}"] for i in model.out_indices}
    harness.compare(dict(zip(want, maps)), want, 1e-4)


def load(model: torch.nn.Module, case: dict[str, Any]) -> None:
    model.load_weights(harness.weights(case["state_dict"]))
