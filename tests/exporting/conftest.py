"""What tests of several files share."""

from __future__ import annotations

import pytest

from .tiny_models import Made


@pytest.fixture(scope="session")
def vmamba() -> Made:
    """A small VMamba at a fixed size, traced once."""
    return Made("vmamba")
