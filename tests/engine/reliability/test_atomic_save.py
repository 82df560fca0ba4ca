"""A checkpoint is whole or not there."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
import traceback
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmmamba.engine.reliability import LAST, make_reliable
from mmmamba.engine.reliability.resume.newest import file_fault, newest_whole
from mmmamba.engine.reliability.whole_files import PARTIAL, write_whole
from mmmamba.errors import UsageError

from ..tiny_models import toy
from ..tiny_runs import Witness, train


def endless(folder: Path) -> Config:
    """A toy that saves after each of very many iterations and keeps one file."""
    cfg = toy(folder)
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=10**6)
    cfg.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=1, by_epoch=False, max_keep_ckpts=1
    )
    cfg.default_hooks.logger.interval = 10**6
    cfg.custom_hooks = []
    make_reliable(cfg)
    return cfg


def die_and_check(cfg: Config, moments: list[float]) -> list[int]:
    """Resume again and again, each time killed so long after the first new file.

    Returns where it was resumed.
    """
    resumed = []
    last = Path(cfg.work_dir, LAST)
    for moment in moments:
        for path in Path(cfg.work_dir).glob("*.pth"):
            assert file_fault(path) is None
        cfg.load_from, cfg.resume = newest_whole(cfg), True
        if cfg.load_from is not None:
            resumed.append(torch.load(cfg.load_from, weights_only=False)["meta"]["iter"])
        # Built before the fork: what is to be killed is the saving.
        runner = Runner.from_cfg(cfg)
        before = last.read_text() if last.exists() else ""
        child = os.fork()
        if child == 0:
            try:
                runner.train()
            finally:
                Path(cfg.work_dir, "why.txt").write_text(traceback.format_exc())
                os._exit(1)
        limit = time.monotonic() + 60
        while (last.read_text() if last.exists() else "") == before and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        why = Path(cfg.work_dir, "why.txt")
        ended = os.waitpid(child, 0)[1]
        assert ended == signal.SIGKILL, why.read_text() if why.exists() else "trained to the end"
    return resumed


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_leaves_whole_files(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    moments = [chance.uniform(0, 0.2) for _ in range(kills)]
    # In a process whose gradients no test computed before: PyTorch's threads for them do not fork.
    with get_context("spawn").Pool(1) as pool:
        resumed = pool.apply(die_and_check, (endless(tmp_path), moments))
    assert len(resumed) == kills - 1
    assert all(before < after for before, after in pairwise(resumed))


def test_a_full_disk_is_told_and_the_last_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_whole(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            UsageError, match=rf"no room for {path}: it needs 2,000 bytes, [\d,]+ are free"
        ):
            write_whole(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_a_full_disk_ends_training_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = toy(tmp_path)
    cfg.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=1, by_epoch=False, max_keep_ckpts=1
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    Witness.watch(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard)))
    try:
        assert train(cfg) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "error: no room for" in capsys.readouterr().err
    assert newest_whole(cfg) == str(tmp_path / "run" / "iter_2.pth")


def test_the_newest_whole_file_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = toy(tmp_path)
    cfg.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=5, by_epoch=False, max_keep_ckpts=3
    )
    Witness.watch()
    assert train(cfg) == 0
    work_dir = Path(cfg.work_dir)
    whole = (work_dir / "iter_10.pth").read_bytes()
    weights = torch.load(work_dir / "iter_10.pth", weights_only=False)["state_dict"]
    torch.save(dict(state_dict=weights), work_dir / "weights.pth")
    assert newest_whole(cfg) == str(work_dir / "iter_10.pth")

    (work_dir / "iter_10.pth").write_bytes(whole[: len(whole) // 2])
    (work_dir / f".iter_15.pth{PARTIAL}").write_bytes(whole[:100])
    assert newest_whole(cfg) == str(work_dir / "iter_5.pth")
    assert "iter_10.pth" in file_fault(work_dir / "iter_10.pth")
    damaged = bytearray(whole)
    # More than the padding between two parts, where a change does no harm.
    middle = slice(len(whole) // 2, len(whole) // 2 + 128)
    damaged[middle] = bytes(255 ^ byte for byte in damaged[middle])
    (work_dir / "iter_5.pth").write_bytes(damaged)
    with pytest.raises(UsageError, match="each checkpoint is broken"):
        newest_whole(cfg)
    assert "only weights" in file_fault(work_dir / "weights.pth")
