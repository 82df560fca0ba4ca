"""Small backbones to load files into."""

import pytest

from mmmamba.models.trunks.base import MambaBackbone

from .files import BUILDERS


@pytest.fixture(params=BUILDERS)
def build(request):
    """Makes backbones of one of `BUILDERS`."""
    return BUILDERS[request.param]


@pytest.fixture
def vmamba():
    return BUILDERS["vmamba"]()


@pytest.fixture(params=MambaBackbone.families(), ids=lambda family: family.__name__)
def build_any(request):
    """Makes backbones of one of all families."""
    return lambda **given: request.param(**request.param.TINY | given)
