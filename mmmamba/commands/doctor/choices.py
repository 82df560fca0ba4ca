"""Which backend of the scan each device takes, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from ...ops.selective_scan import (
    BACKENDS,
    ENVIRONMENT,
    BackendError,
    resolve,
    why_not,
    why_not_by_itself,
)


@dataclass(frozen=True)
class Choice:
    """What becomes of a backend on a device."""

    backend: str
    device: str
    state: str
    """`taken`, `on request` or `cannot run`."""
    why: str

    @property
    def runs(self) -> bool:
        return self.state != "cannot run"


def scan_choices(device: torch.device) -> list[Choice]:
    """All backends of the scan on a device, by preference.

    A variable $MMMAMBA_SCAN_BACKEND that asks for what cannot run shows as that backend's reason;
    none is taken then.
    """
    asked = os.environ.get(ENVIRONMENT, "")
    try:
        taken = resolve(device)
    # Nothing can be taken; the table still says why of each.
    except BackendError:
        taken = ""
    choices = []
    for name in BACKENDS:
        cannot, not_itself = why_not(name, device), why_not_by_itself(name, device)
        if name == taken:
            why = f"asked for by ${ENVIRONMENT}" if asked else "the first of those that can run"
            choices.append(Choice(name, str(device), "taken", why))
        elif cannot:
            choices.append(Choice(name, str(device), "cannot run", cannot))
        else:
            why = not_itself or (f"${ENVIRONMENT}={asked}" if asked else f"'{taken}' comes first")
            choices.append(Choice(name, str(device), "on request", why))
    return choices


def scan_problem(device: torch.device) -> str | None:
    """Why no scan runs on a device, if none does."""
    try:
        resolve(device)
    except BackendError as error:
        return str(error)
    return None
