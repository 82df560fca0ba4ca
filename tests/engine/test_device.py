"""`--device` decides where runs of this process are, and the next run is asked anew."""

from __future__ import annotations

import pytest
import torch
from mmengine.device import get_device

from mmmamba.engine.device import count_processes, use_device
from mmmamba.errors import UsageError


def test_the_cpu_by_name_and_what_is_found_again() -> None:
    found = get_device()
    use_device("cpu")
    assert get_device() == "cpu"
    use_device(None)
    assert get_device() == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0,1", "CUDA_VISIBLE_DEVICES=0,1 torchrun --nproc-per-node=2"),
        ("gpu", "wanted cpu, cuda or the number"),
        ("99", "PyTorch sees"),
    ],
)
def test_devices_that_cannot_be(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        use_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none() -> None:
    with pytest.raises(UsageError, match="sees no GPU"):
        use_device("cuda")


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="a GPU of its own"):
        use_device("1", launcher="pytorch")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert count_processes("pytorch") == 8 and count_processes("none") == 1
