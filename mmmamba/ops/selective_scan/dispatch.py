"""Which backend runs: decided here and nowhere else, logged once with its reason."""

import importlib
import logging
import os
from functools import cache
from types import ModuleType

import torch

from ...suggest import did_you_mean

ENVIRONMENT = "MMMAMBA_SCAN_BACKEND"

BACKENDS = ("triton", "mamba_ssm", "cpu", "torch", "naive")
"""By preference."""

_ONLY_WHEN_ASKED = {("cuda", "torch"), ("cuda", "naive"), ("cpu", "triton")}
"""Slow there: `torch` and `naive` on a GPU, and Triton's interpreter on a CPU."""

logger = logging.getLogger("mmmamba")


class BackendError(RuntimeError):
    """The asked-for backend cannot run, or none can."""


@cache
def backend_module(name: str) -> ModuleType:
    if name not in BACKENDS:
        raise BackendError(f"there is no selective-scan backend '{name}'; there are {', '.join(BACKENDS)}."
                           + did_you_mean(name, BACKENDS))
    return importlib.import_module(f".{name}", __package__)


def why_not(name: str, device: torch.device) -> str | None:
    """None if the backend can run on the device, else the reason it cannot."""
    return backend_module(name).unavailable(device)


def why_not_by_itself(name: str, device: torch.device) -> str | None:
    """None if the backend may be chosen on the device without being asked for, else why not."""
    reason = why_not(name, device)
    if reason is None and (device.type, name) in _ONLY_WHEN_ASKED:
        return f"slow on {device.type}, runs only when asked for (backend='{name}' or {ENVIRONMENT}={name})"
    return reason


def resolve(device: torch.device, backend: str = "") -> str:
    """The name of the backend to use on `device`: the argument, else $MMMAMBA_SCAN_BACKEND, else the best there is.

    Raises:
        BackendError: the one asked for cannot run (with the reason), or only slow ones could run on a GPU.
    """
    environment = os.environ.get(ENVIRONMENT, "")
    return _resolve(device.type, backend or environment, "the argument" if backend else f"${ENVIRONMENT}")


@cache
def _resolve(device_type: str, asked: str, asker: str) -> str:
    device = torch.device(device_type)
    if asked:
        reason = why_not(asked, device)
        if reason:
            raise BackendError(f"selective-scan backend '{asked}', asked for by {asker}, cannot run: {reason}")
        logger.info("selective_scan on %s: backend '%s', asked for by %s", device_type, asked, asker)
        return asked
    reasons = {}
    for name in BACKENDS:
        reasons[name] = why_not_by_itself(name, device)
        if reasons[name] is None:
            passed = "; ".join(f"{other}: {why}" for other, why in reasons.items() if why) or "first choice"
            logger.info("selective_scan on %s: backend '%s' (%s)", device_type, name, passed)
            return name
    listed = "; ".join(f"{name}: {why}" for name, why in reasons.items())
    raise BackendError(f"no selective-scan backend can run on {device_type}. {listed}")
