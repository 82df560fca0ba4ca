"""mmcv.ops is imported by the tests of this folder, so the operators must be in place before."""

import pytest
import torch
import torch.distributed as dist

from mmmamba.compat import install

install()


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
            ],
        ),
    ]
)
def device(request) -> str:
    """A test that takes it also runs on a GPU, by `make test-gpu`."""
    return request.param


@pytest.fixture
def one_process():
    """The process group of a training on one device, which mmcv's SyncBatchNorm asks for."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()
