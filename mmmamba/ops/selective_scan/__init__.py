"""The selective scan (S6): one operator, several backends."""

from .dispatch import BACKENDS, ENVIRONMENT, BackendError, resolve, why_not
from .interface import selective_scan

__all__ = ["BACKENDS", "ENVIRONMENT", "BackendError", "resolve", "selective_scan", "why_not"]
