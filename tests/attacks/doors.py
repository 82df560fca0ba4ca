"""Every way in which a checkpoint comes in, each behind a process with limits of its own."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.registry import MODELS

import mmmamba
from mmmamba.checkpoints import CheckpointError
from mmmamba.commands import main

MEMORY = 3 << 30
"""Bytes that a process may take more than this one."""


@dataclass(frozen=True)
class Place:
    """Where a detector was trained, and what is beside."""

    config: Path
    image: Path
    arch: str

    def doors(self, file: Path) -> dict[str, Callable[[], object]]:
        """By name; the file lies in a folder of its own, which serves as the work dir."""
        config, folder = str(self.config), str(file.parent)
        backbone = dict(
            type="VMamba", arch=self.arch, init_cfg=dict(type="Pretrained", checkpoint=str(file))
        )
        train = ["train", config, "--work-dir", folder]
        out = f"{folder}/out"
        return {
            "infer": lambda: main(
                ["infer", config, str(self.image), "--checkpoint", str(file), "--out", out]
            ),
            "test": lambda: main(["test", config, str(file), "--work-dir", out]),
            "train --resume PATH": lambda: main([*train, "--resume", str(file)]),
            "train --resume": lambda: main([*train, "--resume"]),
            "load_from": lambda: main([*train, "--cfg-options", f"load_from={file}"]),
            "init_cfg": lambda: MODELS.build(backbone).init_weights(),
            "create_backbone": lambda: mmmamba.create_backbone(self.arch, weights=file),
        }


@dataclass(frozen=True)
class Outcome:
    """How a process ended: exit code, negative for a signal; None if it took too long."""

    code: int | None
    said: str
    seconds: float

    @property
    def error(self) -> str:
        """From the line that tells it on."""
        begin = self.said.rfind("\nerror: ")
        return self.said[begin + 1 :] if begin >= 0 else ""

    def fault(self, refused: bool) -> str:
        """What is wrong with it; empty if it is as promised."""
        if self.code is None:
            return f"no end within {self.seconds:.0f} s"
        if self.code not in ((2,) if refused else (0, 2)) or "Traceback" in self.said:
            return f"exit code {self.code}: {self.said[-1500:]}"
        if self.code == 2 and not self.error:
            return f"no line that begins with error: {self.said[-500:]}"
        if "\x1b" in self.error or len(self.error) > 4000:
            return f"an error that is no text of a few lines: {self.error[:200]!r}"
        return ""


def behind(door: Callable[[], object], limit: float, folder: Path = Path()) -> Outcome:
    """Call it in a copy of this process, in a folder, with a limit for its time and memory."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os._exit(_called(door, said.fileno(), folder))
        code = _ended(child, begin + limit)
        said.seek(0)
        return Outcome(code, "\n" + said.read().decode(errors="replace"), time.monotonic() - begin)


def _called(door: Callable[[], object], said: int, folder: Path) -> int:
    os.setsid()
    os.chdir(folder)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    try:
        result = door()
        code = result if isinstance(result, int) else 0
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    # As the interpreter would end the process, but this one is a fork of the tests'.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _ended(child: int, deadline: float) -> int | None:
    """The exit code of a process, which is killed at the deadline with all that it started."""
    watched = os.pidfd_open(child)
    try:
        in_time = bool(select.select([watched], [], [], max(deadline - time.monotonic(), 0))[0])
        if not in_time:
            os.killpg(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code if in_time else None
    finally:
        os.close(watched)
