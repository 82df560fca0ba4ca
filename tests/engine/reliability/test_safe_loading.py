"""Our tools read checkpoints without running what is in them."""

import os

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint, load_checkpoint

from mmmamba.checkpoints import CheckpointError
from mmmamba.engine.reliability.safe_loading import refuse_unpickling


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setattr(checkpoint, "_safe_torch_load", checkpoint._safe_torch_load)
    refuse_unpickling()


def test_a_malicious_file_is_refused_and_not_run(tmp_path):
    file, trace = tmp_path / "bad.pth", tmp_path / "it_ran"
    torch.save(dict(state_dict={}, meta=Malicious(trace)), file)
    with pytest.raises(CheckpointError, match="could run code"):
        load_checkpoint(torch.nn.Linear(1, 1), str(file))
    assert not trace.exists()


def test_a_file_that_the_runner_writes_is_read(tmp_path):
    history = HistoryBuffer()
    history.update(1.0)
    file = tmp_path / "good.pth"
    model = torch.nn.Linear(2, 2)
    torch.save(
        dict(state_dict=model.state_dict(), message_hub=dict(log_scalars=dict(loss=history))), file
    )
    other = torch.nn.Linear(2, 2)
    load_checkpoint(other, str(file))
    assert torch.equal(other.weight, model.weight)
