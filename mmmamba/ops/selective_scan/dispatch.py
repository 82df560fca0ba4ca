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

PLAIN = ("torch", "naive")
"""Those whose `scan` is made of PyTorch's operators, by preference."""

_ONLY_WHEN_ASKED = {("cuda", "torch"), ("cuda", "naive"), ("cpu", "triton")}
"""Slow there: `torch` and `naive` on a GPU, and Triton's interpreter on a CPU."""

logger = logging.getLogger("mmmamba")


class BackendError(RuntimeError):
    """The asked-for backend cannot run or does not exist, or none can run."""


def _unknown(name: str, asker: str = "") -> str:
    asked = f", asked for by {asker}" if asker else ""
    return (
        f"there is no selective-scan backend {name!r}{asked}; there are {', '.join(BACKENDS)}."
        f"{did_you_mean(name, BACKENDS)}"
    )


def check_environment() -> None:
    """Looks at the environment variable before work that comes to a scan late.

    Raises:
        BackendError: $MMMAMBA_SCAN_BACKEND names none.
    """
    name = os.environ.get(ENVIRONMENT, "")
    if name and name not in BACKENDS:
        raise BackendError(_unknown(name, f"${ENVIRONMENT}"))


@cache
def backend_module(name: str) -> ModuleType:
    """The module of a backend, as `common` describes it.

    Raises:
        BackendError: there is none of that name.
    """
    if name not in BACKENDS:
        raise BackendError(_unknown(name))
    # Relative, as `torch` and `triton` alone are the installed packages; and late, as each
    # backend may import what others do without.
    return importlib.import_module(f".{name}", __package__)


def why_not(name: str, device: torch.device) -> str | None:
    """None if the backend can run on the device, else the reason it cannot."""
    return backend_module(name).unavailable(device)


def why_not_by_itself(name: str, device: torch.device) -> str | None:
    """None if the backend may be chosen on the device without being asked for, else why not."""
    reason = why_not(name, device)
    if reason is None and (device.type, name) in _ONLY_WHEN_ASKED:
        return (
            f"slow on {device.type}, runs only when asked for "
            f"(backend='{name}' or {ENVIRONMENT}={name})"
        )
    return reason


def resolve(device: torch.device, backend: str = "") -> str:
    """The name of the backend to use on `device`.

    The argument decides, else $MMMAMBA_SCAN_BACKEND, else it is the best there is.

    Raises:
        BackendError: the one asked for does not exist or cannot run (with the reason), or only slow
            ones could run on a GPU.
    """
    # Read on every call, outside of the cache, so that a change of it counts.
    environment = os.environ.get(ENVIRONMENT, "")
    asker = "the argument" if backend else f"${ENVIRONMENT}"
    return _resolve(device.type, backend or environment, asker)


def plain_module(device: torch.device, backend: str = "") -> ModuleType:
    """The backend whose `scan` PyTorch differentiates, in place of the one that `resolve` gives.

    Raises:
        BackendError: as `resolve`.
    """
    return _plain_module(device.type, resolve(device, backend))


# Cached for the line in the log, which is wanted once.
@cache
def _plain_module(device_type: str, backend: str) -> ModuleType:
    name = backend if backend in PLAIN else PLAIN[0]
    if name != backend:
        logger.info(
            "selective_scan on %s: backend '%s' in place of '%s' for forward mode, torch.func and "
            "gradients that are differentiated again",
            device_type,
            name,
            backend,
        )
    return backend_module(name)


# Cached by what decides, so that the choice is made, and its reason logged, once.
@cache
def _resolve(device_type: str, asked: str, asker: str) -> str:
    device = torch.device(device_type)
    if asked and asked not in BACKENDS:
        raise BackendError(_unknown(asked, asker))
    if asked:
        reason = why_not(asked, device)
        if reason:
            raise BackendError(
                f"selective-scan backend '{asked}', asked for by {asker}, cannot run: {reason}"
            )
        logger.info(
            "selective_scan on %s: backend '%s', asked for by %s", device_type, asked, asker
        )
        return asked
    passed: list[str] = []
    for name in BACKENDS:
        reason = why_not_by_itself(name, device)
        if reason is None:
            why = "; ".join(passed) or "first choice"
            logger.info("selective_scan on %s: backend '%s' (%s)", device_type, name, why)
            return name
        passed.append(f"{name}: {reason}")
    raise BackendError(f"no selective-scan backend can run on {device_type}. {'; '.join(passed)}")
