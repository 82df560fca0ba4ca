"""What a run logged, over its restarts."""

from __future__ import annotations

import json
from pathlib import Path

from mmmamba.evaluation.scalars import read_scalars, series


def write(folder: Path, lines: list[dict], broken: str = "") -> None:
    folder = folder / "vis_data"
    folder.mkdir(parents=True)
    (folder / "scalars.json").write_text(
        "".join(f"{json.dumps(line)}\n" for line in lines) + broken
    )


def epoch_lines(first: int, last: int, loss: float) -> list[dict]:
    """Two lines of training and one of validation an epoch."""
    lines = []
    for epoch in range(first, last + 1):
        lines += [dict(lr=0.1, loss=loss, epoch=epoch, step=10 * epoch - part) for part in (5, 0)]
        lines.append({"coco/bbox_mAP": loss, "step": epoch})
    return lines


def test_a_resumed_run_goes_on_where_it_was_resumed(tmp_path: Path) -> None:
    # Killed in epoch 4, in the middle of a line, and resumed from the end of epoch 2.
    write(tmp_path / "20260101_000000", epoch_lines(1, 3, 1.0), '{"lr": 0.1, "lo')
    write(tmp_path / "20260102_000000", epoch_lines(3, 4, 2.0))
    training, validation = read_scalars(tmp_path)
    assert series(training, "loss") == ([5, 10, 15, 20, 25, 30, 35, 40], [1.0] * 4 + [2.0] * 4)
    assert series(validation, "coco/bbox_mAP") == ([1, 2, 3, 4], [1.0, 1.0, 2.0, 2.0])


def test_a_run_that_starts_anew_in_the_same_folder_stands_alone(tmp_path: Path) -> None:
    write(tmp_path / "20260101_000000", epoch_lines(1, 3, 1.0))
    write(tmp_path / "20260102_000000", epoch_lines(1, 1, 2.0)[:2])
    assert read_scalars(tmp_path) == (epoch_lines(1, 1, 2.0)[:2], [])


def test_a_run_that_counts_iterations_keeps_the_result_that_it_was_resumed_after(
    tmp_path: Path,
) -> None:
    write(tmp_path / "1", [dict(lr=0.1, step=10), dict(mIoU=1.0, step=10), dict(lr=0.1, step=15)])
    write(tmp_path / "2", [dict(lr=0.2, step=15), dict(lr=0.2, step=20), dict(mIoU=2.0, step=20)])
    training, validation = read_scalars(tmp_path)
    assert series(training, "lr") == ([10, 15, 20], [0.1, 0.2, 0.2])
    assert series(validation, "mIoU") == ([10, 20], [1.0, 2.0])


def test_nothing_logged(tmp_path: Path) -> None:
    assert read_scalars(tmp_path) == ([], [])
