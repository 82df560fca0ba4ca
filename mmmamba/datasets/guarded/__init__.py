"""Data sets that name the file and annotation of what goes wrong while they are read.

Or they leave it out, and count it.
"""

from .build import build_checked, check_pipelines
from .ledger import DataError, Ledger

__all__ = ["DataError", "Ledger", "build_checked", "check_pipelines"]
