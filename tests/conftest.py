"""Options of the whole suite."""

from __future__ import annotations

import gc

# Imports make a million objects that stay: nobody looks through them for what could go, and
# through those of tests not at every 700 new ones.
gc.disable()
gc.set_threshold(5_000)

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings
from mmengine.registry import DefaultScope
from yapf.yapflib import yapf_api

from mmmamba.config.read import shipped_files_read_once
from mmmamba.engine.reliability.seeding import seed_all

from .torchrun import torchrun

# The same inputs in every run, so that a failure is the change's. HYPOTHESIS_PROFILE=default draws
# anew.
settings.register_profile("suite", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def texts_formatted_once() -> Iterator[None]:
    """MMEngine formats a config anew wherever it keeps it, for a quarter of a second each time."""
    kept: dict[str, Any] = {}
    format_code = yapf_api.FormatCode

    def formatted(text: str, **options: Any) -> Any:
        if text not in kept:
            kept[text] = format_code(text, **options)
        return kept[text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, "FormatCode", formatted)
        yield


@pytest.fixture(scope="session", autouse=True)
def shipped_configs_read_once() -> Iterator[None]:
    with shipped_files_read_once():
        yield


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process of `tests/two_processes.py` found, which all workers start once."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "two_processes"
    files = [folder / f"rank{rank}.json" for rank in (0, 1)]
    with FileLock(f"{folder}.lock"):
        if not all(file.is_file() for file in files):
            folder.mkdir(exist_ok=True)
            torchrun("tests/two_processes.py", folder)
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture(autouse=True)
def no_default_scope() -> None:
    """MMEngine's is one for the process: a test that builds by mmdet's names says so itself."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Python and NumPy seed themselves anew in each process, and a worker gets other tests."""
    seed_all(0)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line that says what a marker expression left out, and how to run it."""
    if "not slow" in (config.option.markexpr or ""):
        terminalreporter.write_line(
            "Left out: tests marked slow (make test-slow) "
            "and tests that need a CUDA device (make test-gpu)."
        )
