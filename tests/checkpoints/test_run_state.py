"""Checkpoints of runs come back as they were saved, and no trick of a file reaches a function."""

from __future__ import annotations

import builtins
import io
import os
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmmamba.checkpoints import CheckpointError, read_checkpoint
from mmmamba.checkpoints.run_state import read_run_checkpoint

from .pickle_programs import archive, attribute, mapping, name, text

READERS = [read_checkpoint, read_run_checkpoint]


def test_what_a_run_saves_comes_back(tmp_path: Path) -> None:
    hub = MessageHub("test_run_state")
    for step in range(5):
        hub.update_scalar("train/loss", 1.5 / (step + 1))
    counts = np.arange(6).reshape(2, 3).T
    hub.update_info_dict(
        {"iter": 7, "best": np.float32(0.3), "counts": counts, "name": np.str_("x")}
    )
    state = np.random.RandomState(3).get_state()
    saved = dict(
        state_dict=OrderedDict(w=torch.ones(2)),
        message_hub=hub.state_dict(),
        random=state,
        meta=dict(epoch=3, classes=("a",)),
        empty=np.zeros((0, 4)),
        big_endian=np.arange(3, dtype=">i2"),
    )
    torch.save(saved, tmp_path / "run.pth")
    held = read_run_checkpoint(tmp_path / "run.pth")
    history = held["message_hub"]["log_scalars"]["train/loss"]
    assert type(history) is HistoryBuffer and history.statistics("mean", 2) == pytest.approx(
        (1.5 / 4 + 1.5 / 5) / 2
    )
    other = MessageHub("test_run_state_resumed")
    other.load_state_dict(held["message_hub"])
    info = held["message_hub"]["runtime_info"]
    assert (
        type(info["best"]) is np.float32 and info["best"] == np.float32(0.3) and info["name"] == "x"
    )
    assert np.array_equal(info["counts"], np.arange(6).reshape(2, 3).T)
    assert held["random"][0] == state[0] and held["random"][1].dtype == "u4"
    assert np.array_equal(held["random"][1], state[1])
    assert held["empty"].shape == (0, 4) and held["big_endian"].tolist() == [0, 1, 2]
    assert held["meta"] == saved["meta"] and type(held["state_dict"]) is OrderedDict
    # What was read can be saved again by a run that goes on.
    torch.save(held, tmp_path / "again.pth")
    assert read_run_checkpoint(tmp_path / "again.pth")["message_hub"]["runtime_info"]["iter"] == 7


@pytest.mark.parametrize("read", READERS)
def test_getattr_reaches_no_builtin(read, tmp_path: Path) -> None:
    """With MMEngine's allow-list this file makes `len` mean `eval`."""
    module = attribute(name("builtins", "getattr"), "__self__")
    program = mapping(
        state_dict=mapping(), x=attribute(module, "__dict__") + text("MMMAMBA_PWNED") + b"Ns"
    )
    with pytest.raises(CheckpointError, match="SETITEM"):
        read(archive(tmp_path / "builtins.pth", program))
    assert not hasattr(builtins, "MMMAMBA_PWNED")


def test_the_same_file_does_run_under_mmengines_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails, MMEngine has mended its list and `run_state` may be simplified."""
    from mmengine.runner.checkpoint import get_torch_safe_globals

    module = attribute(name("builtins", "getattr"), "__self__")
    program = mapping(
        state_dict=mapping(), x=attribute(module, "__dict__") + text("MMMAMBA_PWNED") + b"Ns"
    )
    monkeypatch.setattr(builtins, "MMMAMBA_PWNED", False, raising=False)
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        torch.load(archive(tmp_path / "builtins.pth", program), weights_only=True)
    assert builtins.MMMAMBA_PWNED is None


CALLS = {
    "posix.system": name("posix", "system") + text("touch {mark}") + b"\x85R",
    "os.system": name("os", "system") + text("touch {mark}") + b"\x85R",
    "builtins.eval": name("builtins", "eval") + text("open('{mark}', 'w')") + b"\x85R",
    "builtins.exec": name("builtins", "exec") + text("open('{mark}', 'w')") + b"\x85R",
    "subprocess.Popen": name("subprocess", "Popen") + text("touch {mark}") + b"\x85R",
    "torch.load": name("torch", "load") + text("{mark}") + b"\x85R",
    "torch.hub.load": name("torch.hub", "load") + text("{mark}") + text("x") + b"\x86R",
    "numpy.load": name("numpy", "load") + text("{mark}") + b"\x85R",
    "functools.partial": name("functools", "partial") + name("os", "mkdir") + b"\x85R",
    "importlib.import_module": name("importlib", "import_module") + text("this") + b"\x85R",
    "types.FunctionType": name("types", "FunctionType") + b")R",
    "inst": b"(" + text("touch {mark}") + b"iposix\nsystem\n",
    "obj": b"(" + name("posix", "system") + text("touch {mark}") + b"o",
    "stack_global": b"\x8c\x05posix\x8c\x06system\x93" + text("touch {mark}") + b"\x85R",
    "newobj": name("posix", "system") + text("touch {mark}") + b"\x85\x81",
    "extension": b"\x82\x01",
    "build": name("collections", "OrderedDict")
    + b")R"
    + mapping(__class__=name("posix", "system"))
    + b"b",
    "reduce_of_a_result": attribute(name("collections", "OrderedDict"), "fromkeys")
    + text("ab")
    + b"\x85R",
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("call", CALLS)
def test_no_opcode_calls_a_function(read, call: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    # Of one length with the path, so that the lengths in the program stay right.
    program = CALLS[call]
    for value in ("touch {mark}", "open('{mark}', 'w')", "{mark}"):
        program = program.replace(text(value), text(value.format(mark=mark)))
    path = archive(tmp_path / "file.pth", mapping(state_dict=mapping(), x=program))
    with pytest.raises(CheckpointError, match="file.pth"):
        read(path)
    assert not mark.exists() and "this" not in sys.modules


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([object()]), "object"),
        (np.zeros(2, dtype=[("a", "O"), ("b", "i4")]), "no plain numbers|object"),
        (np.zeros(2, dtype="V16"), "no plain numbers"),
    ],
)
def test_arrays_of_pointers_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    torch.save(dict(state_dict={}, x=values), tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=message):
        read_run_checkpoint(tmp_path / "file.pth")


def test_an_array_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(dict(state_dict={}, x=np.zeros(3)), path)
    with zipfile.ZipFile(path) as whole:
        program = next(
            whole.read(entry) for entry in whole.namelist() if entry.endswith("data.pkl")
        )
    assert b"K\x03\x85" in program
    archive(path, program[2:-1].replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"))
    with pytest.raises(CheckpointError, match="reshape|size"):
        read_run_checkpoint(path)


def test_what_many_places_share_is_read_once(tmp_path: Path) -> None:
    """Sixty lists of the list before, twice: 2^60 if walked as a tree."""
    value: object = np.arange(2.0)
    for _ in range(60):
        value = [value, value]
    torch.save(dict(state_dict={}, x=value), tmp_path / "file.pth")
    held = read_run_checkpoint(tmp_path / "file.pth")["x"]
    assert held[0] is held[1]


@pytest.mark.parametrize("read", READERS)
def test_a_nest_of_twenty_thousand_lists(read, tmp_path: Path) -> None:
    deep = archive(tmp_path / "file.pth", mapping(x=b"]" * 20_000 + b"a" * 19_999))
    with pytest.raises(CheckpointError, match="levels deep"):
        read(deep)


def test_text_that_mmengine_would_run_on_resuming_is_dropped(tmp_path: Path) -> None:
    torch.save(
        dict(state_dict={}, meta=dict(epoch=1, config="import os; os.mkdir('ran')")),
        tmp_path / "file.pth",
    )
    assert read_run_checkpoint(tmp_path / "file.pth")["meta"] == dict(epoch=1)


@pytest.mark.parametrize("read", READERS)
def test_the_tar_files_of_old_torch_do_not_unpack(read, tmp_path: Path) -> None:
    path, victim = tmp_path / "file.pth", tmp_path / "victim"
    with tarfile.open(path, "w") as tar:
        for entry in ("storages", "tensors", "pickle", f"../{victim.name}", str(victim)):
            info = tarfile.TarInfo(entry)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(CheckpointError, match="file.pth"):
        read(path)
    assert not victim.exists()


@pytest.mark.parametrize("read", READERS)
def test_numpy_files_are_no_checkpoints(read, tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    np.save(tmp_path / "file.npy", np.array([Runs()], dtype=object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="file.npy"):
        read(tmp_path / "file.npy")
    assert not mark.exists()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "header",
    [
        (
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
            b'"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}'
        ),
        b'{"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,16]}}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1099511627776]}}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[-16,0]}}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}',
        b'{"a":' * 2000 + b"0" + b"}" * 2000,
    ],
    ids=["overlapping", "overflowing", "beyond the file", "negative", "reversed", "nested"],
)
def test_headers_of_safetensors_that_lie(read, header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    for length in (len(header), (1 << 63) - 1):
        path.write_bytes(length.to_bytes(8, "little") + header + bytes(24))
        with pytest.raises(CheckpointError, match="truncated or damaged"):
            read(path)


@pytest.mark.parametrize("read", READERS)
def test_a_link_is_read_as_what_it_points_to(read, tmp_path: Path) -> None:
    torch.save(dict(state_dict={"w": torch.ones(1)}), tmp_path / "file.pth")
    (tmp_path / "link.pth").symlink_to("file.pth")
    assert "state_dict" in read(tmp_path / "link.pth")
    (tmp_path / "text.pth").symlink_to("/etc/passwd")
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    for odd in ("text.pth", "loop.pth"):
        with pytest.raises(CheckpointError, match=odd) as caught:
            read(tmp_path / odd)
        assert "root:" not in str(caught.value)


@pytest.mark.parametrize("read", READERS)
def test_devices_and_pipes_are_not_waited_for(read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for endless in (tmp_path / "pipe.pth", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="no checkpoint"):
            read(endless)
