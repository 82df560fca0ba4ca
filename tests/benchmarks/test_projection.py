"""What many GPUs would do, by the model of `benchmarks/projection.py`."""

from __future__ import annotations

import pytest

from benchmarks.projection import projected, slowest

TWO = dict(
    case="a",
    graphs="auto",
    gpus=2,
    images=4,
    parameters=50.0,
    batches=[98.0, 100.0, 102.0, 104.0],
    alone=101.0,
    apart=102.0,
    in_step=103.0,
    ms=105.0,
)


def test_the_slowest_of_several_draws() -> None:
    assert slowest([3.0, 1.0, 2.0], 1) == pytest.approx(2.0)
    # Of nine pairs one is both the least, five have the largest.
    assert slowest([1.0, 2.0, 3.0], 2) == pytest.approx((1 + 3 * 2 + 5 * 3) / 9)
    assert slowest([1.0, 2.0, 3.0], 1000) == pytest.approx(3.0)


def test_waiting_and_exchange_grow_apart() -> None:
    rows = {row["gpus"]: row for row in projected([TWO])}
    assert [*rows] == [2, 8, 16, 64]
    assert rows[2]["exchange"] == pytest.approx(2) and rows[2]["waited"] == pytest.approx(1)
    assert rows[2]["waiting"] == pytest.approx(slowest(TWO["batches"], 2) - 101)
    assert rows[8]["exchange"] == pytest.approx(2 * 2 * 7 / 8)
    waiting = slowest(TWO["batches"], 8) - 101
    assert rows[8]["efficiency"] == pytest.approx(101 / (102 + waiting + 3.5))
    assert rows[8]["speed"] == pytest.approx(32e3 / (102 + waiting + 3.5))
    # 200 MB, nearly twice, through 50 GB/s.
    assert rows[64]["exchange"] == pytest.approx(2 * 63 / 64 * 200e6 / 50e9 * 1e3)


def test_without_two_there_is_nothing_to_go_by() -> None:
    assert projected([dict(TWO, gpus=4), dict(TWO, graphs="off")]) == []
