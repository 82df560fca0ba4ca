"""Files are read without running them, and each kind of rubbish gets its own answer."""

import argparse
import collections
import io
import os
import pickle
import sys
import types
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies
from mmengine.logging import MessageHub
from safetensors.torch import save, save_file
from torch import nn

from mmmamba.checkpoints import CheckpointError, read_checkpoint

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


class Malicious:
    """Runs a shell command when unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def saved(tmp_path):
    def save(content, name="file.pth", **options):
        path = tmp_path / name
        torch.save(content, path, **options)
        return path

    return save


def refused(path, *words):
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    for word in (str(path), *words):
        assert word in str(error.value)
    return error.value


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_torch_files_of_both_formats(saved, zipped):
    read = read_checkpoint(
        saved({"model": STATE, "epoch": 3}, _use_new_zipfile_serialization=zipped)
    )
    assert read["epoch"] == 3 and torch.equal(read["model"]["layer.weight"], STATE["layer.weight"])


@pytest.mark.parametrize("name", ["file.safetensors", "file.bin"])
def test_reads_safetensors_whatever_the_name(tmp_path, name):
    save_file(STATE, tmp_path / name)
    assert torch.equal(read_checkpoint(tmp_path / name)["layer.weight"], STATE["layer.weight"])


def test_a_safetensors_file_whose_length_reads_like_json(tmp_path):
    content = save({"w": torch.arange(3.0)})
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    # Blanks behind the header make it as long as the bytes of " {" say.
    longer = header.ljust(0x7B20)
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(longer).to_bytes(8, "little") + longer + content[8 + len(header) :])
    assert path.read_bytes().startswith(b" {")
    assert read_checkpoint(path)["w"].tolist() == [0.0, 1.0, 2.0]


def test_file_url_and_home(saved, monkeypatch, tmp_path):
    path = saved(STATE)
    assert set(read_checkpoint(path.as_uri())) == set(STATE)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert set(read_checkpoint("~/file.pth")) == set(STATE)


def test_reads_the_options_of_timm_and_deit(saved):
    path = saved({"model": STATE, "args": argparse.Namespace(lr=0.1, betas=(0.9, 0.999))})
    assert torch.equal(read_checkpoint(path)["model"]["layer.bias"], STATE["layer.bias"])


def test_reads_a_yacs_node_without_yacs(saved, monkeypatch):
    class CfgNode(dict):
        def __init__(self, content):
            super().__init__(content)
            self.__dict__["__immutable__"] = True

    module = types.ModuleType("yacs.config")
    module.CfgNode = CfgNode
    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patched.setitem(sys.modules, "yacs.config", module)
        path = saved(
            {"model": STATE, "config": CfgNode({"MODEL": CfgNode({"TYPE": "vssm"}), "EPOCHS": 300})}
        )
    read = read_checkpoint(path)
    assert read["config"]["MODEL"]["TYPE"] == "vssm" and read["config"]["EPOCHS"] == 300
    assert type(read["config"]) is collections.OrderedDict


def test_reads_what_mmengine_writes_beside_the_weights(saved):
    hub = MessageHub("test_reading")
    hub.update_scalar("train/loss", 1.5)
    hub.update_scalar("train/lr", np.float32(0.1))
    hub.update_info_dict({"iter": 7, "best": np.float32(0.3), "counts": np.arange(3)})
    path = saved(
        {
            "state_dict": STATE,
            "meta": {"epoch": 1},
            "message_hub": hub.state_dict(),
            "param_schedulers": [{}],
        }
    )
    assert torch.equal(read_checkpoint(path)["state_dict"]["layer.weight"], STATE["layer.weight"])


def test_getattr_of_an_allowed_file_looks_nothing_up(tmp_path):
    # Chains of getattr are how pickles reach code.
    class Looks:
        def __reduce__(self):
            return getattr, (STATE, "clear")

    torch.save({"model": {"w": torch.ones(2)}, "extra": Looks()}, tmp_path / "file.pth")
    assert type(read_checkpoint(tmp_path / "file.pth")["extra"]).__name__ == "Inert"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_is_refused_and_does_not_run(saved, tmp_path, zipped):
    mark = tmp_path / "ran"
    path = saved({"model": STATE, "extra": Malicious(mark)}, _use_new_zipfile_serialization=zipped)
    refused(path, "posix.system", "Refused", "trust=True")
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_malicious_pickle_does_not_run(tmp_path, protocol):
    mark, path = tmp_path / "ran", tmp_path / "file.pth"
    path.write_bytes(pickle.dumps(Malicious(mark), protocol=protocol))
    refused(path)
    assert not mark.exists()


def test_code_hidden_in_allowed_classes_does_not_run(saved, tmp_path):
    mark = tmp_path / "ran"
    refused(saved({"model": STATE, "args": argparse.Namespace(lr=Malicious(mark))}))
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
def test_the_environment_cannot_ask_for_unpickling(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "ran"
    refused(saved({"model": STATE, "extra": Malicious(mark)}))
    assert not mark.exists()


def test_trust_runs_the_file_and_says_so(saved, tmp_path, caplog):
    mark = tmp_path / "ran"
    path = saved({"model": STATE, "extra": Malicious(mark)})
    with caplog.at_level("WARNING", logger="mmmamba"):
        assert "layer.weight" in read_checkpoint(path, trust=True)["model"]
    assert mark.exists() and "trust=True" in caplog.text and "posix.system" in caplog.text


def test_trust_changes_nothing_for_a_harmless_file(saved, caplog):
    with caplog.at_level("WARNING", logger="mmmamba"):
        read_checkpoint(saved(STATE), trust=True)
    assert caplog.text == ""


def test_a_whole_pickled_model_is_refused(saved):
    refused(saved({"model": nn.Linear(2, 2)}), "torch.nn.modules.linear.Linear", "state dict alone")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_file(saved, part, zipped):
    path = saved({"model": {"w": torch.randn(64, 64)}}, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    refused(path, "truncated or damaged", "Download it again")


@pytest.mark.parametrize("part", [0.1, 0.99])
def test_a_truncated_safetensors_file(tmp_path, part):
    path = tmp_path / "file.safetensors"
    save_file({"w": torch.randn(64, 64)}, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    refused(path, "truncated or damaged")


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "empty"),
        (b"\n <!DOCTYPE html><html><head><title>Google Drive - Virus scan warning", "HTML page"),
        (b"<HTML><body>404", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b'{"error": "not found"}', "JSON"),
        (b"PK\x03\x04 and no more", "truncated or damaged"),
        (bytes(range(256)) * 8, "truncated or damaged"),
    ],
)
def test_rubbish(tmp_path, content, word):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    refused(path, word)


def rezip(path, compression=zipfile.ZIP_STORED, extra=()):
    """The archive written anew, with more entries."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (*entries, *extra):
            archive.writestr(name, content)


def test_a_zip_bomb(saved):
    path = saved({"w": torch.zeros(4_000_000)})
    rezip(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    refused(path, "compressed")


def test_an_archive_that_leads_out_of_itself(saved):
    path = saved(STATE)
    rezip(path, extra=[("file/../../../etc/evil", b"x")])
    refused(path, "leads out of the archive")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_entries_of_one_name(saved):
    path = saved(STATE)
    rezip(path, extra=[("file/data.pkl", b"x")])
    refused(path, "two entries")


def test_one_flipped_bit_among_the_weights(saved):
    path = saved({"w": torch.zeros(1000)})
    content = bytearray(path.read_bytes())
    content[content.index(bytes(100)) + 50] ^= 1
    path.write_bytes(content)
    refused(path, "checksum", "Download it again")


def test_another_zip_archive(tmp_path):
    path = tmp_path / "weights.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/model.pth", b"x")
    refused(path, "no data.pkl", "unpack it")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_torchscript_program(tmp_path):
    path = tmp_path / "file.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
    refused(path, "TorchScript")


def test_a_lone_tensor(saved):
    refused(saved(torch.zeros(3)), "Tensor, not a dict")


def test_missing_file_folder_and_scheme(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint .*none.pth"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "epoch_1.pth").touch()
    with pytest.raises(CheckpointError, match=r"is a folder \(it holds epoch_1.pth\)"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="'s3://' is not read here"):
        read_checkpoint("s3://bucket/file.pth")


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: path.symlink_to("nowhere.pth"), "there is no checkpoint"),
        (
            lambda path: path.symlink_to(path.name),
            "there is no checkpoint .*Too many levels of symbolic links",
        ),
        (os.mkfifo, "a pipe, socket or device"),
        (lambda path: path.symlink_to("/dev/zero"), "a pipe, socket or device"),
        (lambda path: path.mkdir(), r"is a folder \(it holds no checkpoints\)"),
    ],
)
def test_what_is_no_regular_file(tmp_path, make, words):
    make(tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "file.pth")


@pytest.mark.parametrize("name", ["n" * 5000, "n\x00", "\x1b[2J.pth"])
def test_a_name_that_no_file_has(tmp_path, name):
    with pytest.raises(CheckpointError, match="there is no checkpoint") as error:
        read_checkpoint(tmp_path / name)
    assert len(str(error.value)) < 1500 and "\x1b" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for the device that is missing here")
def test_map_location_without_the_device(saved):
    with pytest.raises(CheckpointError, match="no CUDA device"):
        read_checkpoint(saved(STATE), map_location="cuda:0")


CONTENT = {
    "model": {"layer.weight": torch.ones(3, 4), "b": torch.zeros(2)},
    "args": argparse.Namespace(lr=0.1),
}


def whole_file(kind):
    buffer = io.BytesIO()
    if kind == "safetensors":
        return save(CONTENT["model"])
    torch.save(CONTENT, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=strategies.data())
def test_damaged_bytes_are_refused_by_name_or_read(tmp_path, kind, data):
    content = bytearray(whole_file(kind))
    for _ in range(data.draw(strategies.integers(1, 4))):
        at = data.draw(strategies.integers(0, len(content) - 1))
        content[at : at + data.draw(strategies.integers(0, 9))] = data.draw(
            strategies.binary(max_size=9)
        )
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    try:
        assert isinstance(read_checkpoint(path), Mapping)
    except CheckpointError as error:
        assert str(path) in str(error)
