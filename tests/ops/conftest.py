"""What tests of kernels share."""

import pytest
import torch


@pytest.fixture
def poisoned_memory():
    """New tensors hold NaN, so that whatever a kernel forgets to write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)
