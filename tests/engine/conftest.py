"""What tests of whole runs leave behind in the process is taken back."""

from collections.abc import Iterator

import pytest
import torch

from .tiny_runs import Witness


@pytest.fixture(autouse=True)
def nothing_watched() -> Iterator[None]:
    """What one test does in an iteration is not done in the next test's runs."""
    yield
    Witness.watch()


@pytest.fixture(autouse=True)
def other_tests_compute_as_they_like() -> Iterator[None]:
    """`--deterministic` holds for one test."""
    yield
    torch.use_deterministic_algorithms(False)
