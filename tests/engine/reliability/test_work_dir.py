"""One training at a time writes to a work dir, which can be written to."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmamba.commands import main
from mmmamba.engine.reliability import work_dir
from mmmamba.engine.reliability.work_dir import LOCK, check_work_dir, claimed
from mmmamba.errors import UsageError

from ..tiny_models import toy
from ..tiny_runs import train


def forked(run: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    return child


def wait_for(path: Path) -> None:
    limit = time.monotonic() + 30
    while not (path.exists() and path.read_bytes()) and time.monotonic() < limit:
        time.sleep(0.005)


def hold(folder: Path) -> None:
    """Train there, with a worker that outlives the training."""
    with claimed(folder):
        forked(lambda: time.sleep(2))
        (folder / "held").write_text("yes")
        time.sleep(60)


def test_a_second_training_is_refused_and_a_killed_one_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = toy(tmp_path)
    run = Path(cfg.work_dir)
    holder = forked(lambda: hold(run))
    wait_for(run / "held")
    try:
        assert train(cfg) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert (
            message.startswith(f"error: process {holder} on {os.uname().nodename}, since 2")
            and str(run) in message
        )
        # Nothing of the other training was touched.
        assert sorted(path.name for path in run.iterdir()) == [LOCK, "held"]
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
    # At once, though a worker of it still lives, and its note is there.
    assert json.loads((run / LOCK).read_bytes())["pid"] == holder
    with claimed(run):
        assert json.loads((run / LOCK).read_bytes())["pid"] == os.getpid()
        with pytest.raises(UsageError, match="this process trains in .* already"), claimed(run):
            pass
    with claimed(run):
        pass


def test_the_lock_is_given_back_when_training_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path):
        raise ZeroDivisionError
    with claimed(tmp_path):
        pass


def test_only_the_first_process_of_a_run_takes_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    with claimed(tmp_path / "run", "slurm"):
        assert list((tmp_path / "run").iterdir()) == []
    # Of a job around a run that nothing launched.
    with claimed(tmp_path / "run", "none"):
        assert (tmp_path / "run" / LOCK).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    told = []

    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(work_dir, "print_log", lambda line, *options: told.append(line))
    with claimed(tmp_path):
        pass
    assert len(told) == 1 and f"takes no locks ({os.strerror(number)})" in told[0]


@pytest.mark.parametrize("content", ["my notes", '{"pid": 3}', "[" * 900])
def test_a_file_of_that_name_that_is_not_ours_is_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with pytest.raises(UsageError, match="no training wrote it. Move it away"), claimed(tmp_path):
        pass
    assert (tmp_path / LOCK).read_text() == content


def test_what_a_lock_that_is_held_says_does_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    note = json.dumps(dict(pid=1, host="\x1b[2J", since="now"))
    with claimed(tmp_path):
        # By another process: this one's lock would end with the file.
        for act in (lambda: (tmp_path / LOCK).write_text(note), lambda: _refused(tmp_path)):
            assert os.waitpid(forked(act), 0)[1] == 0


def _refused(folder: Path) -> None:
    work_dir.HELD.clear()
    with pytest.raises(UsageError, match=r"process 1 on \\x1b\[2J, since now,"), claimed(folder):
        pass


@pytest.mark.parametrize("command", ["train", "test"])
@pytest.mark.parametrize("place", ["file", "file/below", "link", "/proc/self/run"])
def test_a_work_dir_that_cannot_be(
    place: str, command: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("link").symlink_to("nowhere")
    cfg = toy(tmp_path)
    for key in ("dataloader", "cfg", "evaluator"):
        cfg[f"test_{key}"] = dict(dataset=dict(type="Noise")) if key == "dataloader" else {}
    cfg.dump("config.py")
    Path("weights.pth").touch()
    assert (
        main(
            [
                command,
                "config.py",
                *(["weights.pth"] if command == "test" else []),
                "--work-dir",
                place,
            ]
        )
        == 2
    )
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        message.startswith(f"error: the work dir {place} cannot be used: ")
        and "--work-dir" in message
    )
    assert Path("file").read_text() == "mine"


def test_a_folder_that_is_not_there_yet_is_not_made_by_looking(tmp_path: Path) -> None:
    check_work_dir(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
