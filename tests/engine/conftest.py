"""What tests of whole runs leave behind in the process is taken back."""

from collections.abc import Iterator

import pytest

from .tiny_runs import Witness


@pytest.fixture(autouse=True)
def nothing_watched() -> Iterator[None]:
    """What one test does in an iteration is not done in the next test's runs."""
    yield
    Witness.watch()
