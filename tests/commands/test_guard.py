"""Errors of the machine are one line, and output that cannot be written ends a program quietly."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmamba.commands import main
from mmmamba.commands.guard import UNREAD, Output, Unread, guarded
from mmmamba.errors import UsageError
from mmmamba.ops.selective_scan import ENVIRONMENT
from tools import draw_routes


def in_child(run: Callable[[], int], out: int, encoding: str = "utf-8") -> tuple[int, str]:
    """Exit code and error stream of a program whose output goes to a file descriptor.

    It has a process of its own.
    """
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            sys.stdout, sys.stderr = (
                io.TextIOWrapper(io.FileIO(fd, "w"), encoding, write_through=fd == tell)
                for fd in (out, tell)
            )
            code = run()
            # As the interpreter does when it ends.
            sys.stdout.flush()
        except SystemExit as end:
            code = end.code
        finally:
            os._exit(code)
    os.close(tell)
    with os.fdopen(told, encoding="utf-8") as file:
        errors = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), errors


def unread_pipe() -> int:
    """A pipe whose reader is gone."""
    out, into = os.pipe()
    os.close(out)
    return into


@pytest.mark.parametrize(
    "run",
    [
        lambda: main(["list"]),
        lambda: main(["config", "mask_rcnn/vmamba_t_1x_coco"]),
        lambda: main(["--help"]),
    ],
    ids=["list", "config", "help"],
)
def test_a_reader_that_is_gone(run: Callable[[], int]) -> None:
    assert in_child(run, unread_pipe()) == (UNREAD, "") and UNREAD == 141


def test_a_tool_whose_reader_is_gone(tmp_path: Path) -> None:
    run = lambda: draw_routes.main(["column", "--size", "2", "2", "--out", str(tmp_path)])  # noqa: E731
    assert in_child(run, unread_pipe()) == (UNREAD, "")
    assert (tmp_path / "column.png").is_file()


def test_a_training_goes_on_unread() -> None:
    def run() -> int:
        for _ in range(10_000):
            print("a line of the log")
        print("reached", file=sys.stderr)
        return 7

    assert in_child(lambda: guarded(run, goes_on=True), unread_pipe()) == (7, "reached\n")
    assert in_child(lambda: guarded(run), unread_pipe()) == (UNREAD, "")


def test_output_to_a_full_disk() -> None:
    code, errors = in_child(lambda: main(["list"]), os.open("/dev/full", os.O_WRONLY))
    assert (
        code == 2
        and errors.startswith("error: what is printed cannot be written")
        and errors.count("\n") == 1
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["list"],
        ["config", "mask_rcnn/vmamba_t_1x_coco", "model.neck"],
        ["doctor", "--help"],
        ["list", "é→"],
    ],
)
def test_output_in_ascii(argv: list[str]) -> None:
    code, errors = in_child(lambda: main(argv), os.open(os.devnull, os.O_WRONLY), "ascii")
    assert code == (2 if "é→" in argv else 0) and "Traceback" not in errors
    assert "é→" not in argv or "'\\xe9\\u2192'" in errors


def test_streams_that_take_everything_are_left_as_they_are() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", "surrogateescape")
    assert Output(stream, goes_on=False).errors == "surrogateescape"


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "a.json"),
            "a.json: No such file or directory. Mend it",
        ),
        (OSError(28, "No space left on device"), "test_guard.py:"),
        (
            OSError(28, "No space left on device", "a.pth"),
            "a.pth: No space left on device. Make room",
        ),
        (UsageError("wanted b"), "wanted b"),
    ],
)
def test_known_errors_are_one_line(
    error: Exception, wanted: str, capsys: pytest.CaptureFixture
) -> None:
    def run() -> int:
        raise error

    assert guarded(run) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and wanted in printed and printed.count("\n") == 1


@pytest.mark.parametrize("argv", [["list"], ["train", "mask_rcnn/vmamba_t_1x_coco"], ["doctor"]])
def test_a_scan_backend_that_does_not_exist(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "trition")
    assert main(argv) == 2
    assert capsys.readouterr() == (
        "",
        (
            f"error: there is no selective-scan backend 'trition', asked for by ${ENVIRONMENT}; "
            "there are triton, mamba_ssm, cpu, torch, naive. Did you mean 'triton'?\n"
        ),
    )


def test_a_scan_backend_that_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "mamba_ssm")
    assert main(["bench", "vmamba_t", "--size", "32", "--device", "cpu"]) == 2
    wanted = f"error: selective-scan backend 'mamba_ssm', asked for by ${ENVIRONMENT}, cannot run: "
    assert capsys.readouterr().err.splitlines()[-1].startswith(wanted)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        OSError("no errno"),
        BrokenPipeError(32, "a worker's"),
        ConnectionResetError(104, "a process of the run"),
    ],
)
def test_faults_of_the_program_keep_their_traceback(error: Exception) -> None:
    def run() -> int:
        raise error

    with pytest.raises(type(error)):
        guarded(run)


def test_what_was_raised_while_printing_ends_the_program_from_anywhere() -> None:
    """Logging and rich catch every `Exception` of a write."""
    assert issubclass(Unread, SystemExit) and not issubclass(Unread, Exception)
