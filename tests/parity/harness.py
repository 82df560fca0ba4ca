"""Run a parity case: the authors' weights through our loader, their input through our model."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from mmmamba.checkpoints import load_weights

from . import recipe

DEVICE = os.environ.get("MMMAMBA_PARITY_DEVICE", "cpu")
"""Where the models run: `cuda` holds the GPU's kernels to the same figures."""

SLOW_PARAMETERS = 100e6
"""Models above this size run only with `-m slow`."""


def weights(manifest: Mapping[str, list[int]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in recipe.weights(manifest).items()}


def run(model: torch.nn.Module, spec: dict[str, Any]) -> Any:
    model.eval().to(DEVICE)
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        dtype = next(model.parameters()).dtype
        return model(torch.from_numpy(recipe.pixels(spec)).to(DEVICE, dtype))


def exactly(model: torch.nn.Module, case: Mapping[str, Any]) -> float:
    """Turn a model to float64, that of the figures, and give the tolerance to hold it to.

    A GPU's kernels have no float64: there it stays in float32, and may be as far off as three times
    the original's own float32.
    """
    if DEVICE == "cpu":
        model.double()
        return 1e-5
    own = [m for outputs in case["float32_mismatch"].values() for m in outputs.values()]
    return max(1e-4, 3 * max(own))


def compare(got: Mapping[str, torch.Tensor], want: Mapping[str, dict], tolerance: float) -> None:
    assert list(got) == list(want)
    worst = {
        name: recipe.mismatch(got[name].float().cpu().numpy(), figures)
        for name, figures in want.items()
    }
    assert all(value <= tolerance for value in worst.values()), f"mismatch in units of std: {worst}"


def check_maps(case: dict[str, Any], build: Callable[..., torch.nn.Module]) -> None:
    """The dense backbone's maps `stage0` …, for the even and the odd input."""
    tolerance = case.get("tolerance_suggested", 1e-4)
    model = build()
    state = weights(case["state_dict"])
    assert sum(value.numel() for value in model.parameters()) == case["parameters"]
    load_weights(model, state, family=type(model).__name__)
    for suffix in ("", "_odd"):
        if f"input{suffix}" in case:
            maps = run(model, case[f"input{suffix}"])
            compare(
                {f"stage{i}": m for i, m in zip(model.out_indices, maps)},
                case[f"outputs{suffix}"],
                tolerance,
            )


def check_logits(case: dict[str, Any], build: Callable[..., torch.nn.Module]) -> None:
    """The classifier's logits."""
    manifest = {
        k: v
        for k, v in case["state_dict"].items()
        if k not in case["state_dict_classifier"]["remove"]
    }
    model = build(classifier=True)
    assert sum(value.numel() for value in model.parameters()) == case["parameters_classifier"]
    load_weights(
        model, weights(manifest | case["state_dict_classifier"]["add"]), family=type(model).__name__
    )
    logits = run(model, case["input_classifier"])
    compare({"logits": logits}, case["outputs_classifier"], case.get("tolerance_suggested", 1e-4))


def cases(table: Mapping[str, Any], slow: tuple[str, ...] = ()) -> list:
    """Parameters of a test from `{case: anything}`, large models and `slow` ones marked so."""
    params = []
    for name, value in table.items():
        heavy = name in slow or recipe.load_case(f"{name}.json")["parameters"] > SLOW_PARAMETERS
        params.append(
            pytest.param(
                name, value, id=name.split("/")[-1], marks=[pytest.mark.slow] if heavy else []
            )
        )
    return params
