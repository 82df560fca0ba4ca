"""The selective scan (S6): one operator, several backends."""

from .carried import carried_scan
from .dispatch import (
    BACKENDS,
    ENVIRONMENT,
    BackendError,
    check_environment,
    resolve,
    why_not,
    why_not_by_itself,
)
from .interface import selective_scan
from .projected import projected_scan, sparing_memory
from .projected_states import projected_states

__all__ = [
    "BACKENDS",
    "ENVIRONMENT",
    "BackendError",
    "carried_scan",
    "check_environment",
    "projected_scan",
    "projected_states",
    "resolve",
    "selective_scan",
    "sparing_memory",
    "why_not",
    "why_not_by_itself",
]
