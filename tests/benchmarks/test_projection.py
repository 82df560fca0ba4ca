"""What many GPUs would do, by the model of `benchmarks/projection.py`."""

from __future__ import annotations

import pytest

from benchmarks.projection import projected

ONE = dict(case="a", graphs="auto", gpus=1, images=4, ms=100.0, parameters=50.0)
TWO = dict(ONE, gpus=2, in_step=100 + 0.564, ms=102 + 0.564)


def test_waiting_and_exchange_grow_apart() -> None:
    rows = {row["gpus"]: row for row in projected([ONE, TWO])}
    assert [*rows] == [8, 16, 64]
    assert rows[8]["waiting"] == pytest.approx(1.424)
    assert rows[8]["exchange"] == pytest.approx(2 * 2 * 7 / 8)
    assert rows[8]["efficiency"] == pytest.approx(100 / (100 + 1.424 + 3.5))
    # 200 MB, nearly twice, through 50 GB/s.
    assert rows[64]["exchange"] == pytest.approx(2 * 63 / 64 * 200e6 / 50e9 * 1e3)


def test_without_two_there_is_nothing_to_go_by() -> None:
    assert projected([ONE]) == []
    assert projected([dict(ONE, graphs="off"), dict(TWO, graphs="off")]) == []
