"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line that says what a marker expression left out, and how to run it."""
    if "not slow" in (config.option.markexpr or ""):
        terminalreporter.write_line(
            "Left out: tests marked slow (make test-slow) and tests that need a CUDA device (make test-gpu)."
        )
