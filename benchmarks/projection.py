"""How fast many GPUs would be, by a model of what was measured on one and on two. No measurement.

A step is what one GPU takes, what all wait for the slowest of N batches, and what the exchange of
gradients adds:

- Waiting: the two waited w for the slower of two batches. If the times of batches are normal, that
  is 0.56 of their standard deviation, and the slowest of N is later by `SLOWEST[N]` of it.
- Exchange: what remains of the two's step. In a ring each GPU sends 2 (N - 1) / N of the gradients,
  which is 1 for two. Between machines it cannot be faster than the network of each GPU.
"""

from __future__ import annotations

from cells import Row

SLOWEST = {2: 0.564, 8: 1.424, 16: 1.766, 64: 2.350}
"""Expected largest of N draws of a standard normal distribution."""
MACHINE = 8
"""GPUs of one."""
NETWORK = 50e9
"""Bytes a second of a GPU to other machines: 400 Gbit/s."""


def projected(rows: list[Row]) -> list[Row]:
    """A row for each case and number of GPUs, from those of one and of two with graphs."""
    measured = {(row["case"], row["gpus"]): row for row in rows if row["graphs"] == "auto"}
    cases = [case for case, gpus in measured if gpus == 2]
    return [
        _row(measured[case, 1], measured[case, 2], gpus)
        for case in cases
        for gpus in SLOWEST
        if gpus > 2
    ]


def _row(one: Row, two: Row, gpus: int) -> Row:
    waited = max(0.0, two["in_step"] - one["ms"])
    waiting = waited / SLOWEST[2] * SLOWEST[gpus]
    share = 2 * (gpus - 1) / gpus
    exchange = max(0.0, two["ms"] - two["in_step"]) * share
    if gpus > MACHINE:
        exchange = max(exchange, share * 4e6 * one["parameters"] / NETWORK * 1e3)
    ms = one["ms"] + waiting + exchange
    return dict(
        case=one["case"],
        gpus=gpus,
        waiting=waiting,
        exchange=exchange,
        ms=ms,
        speed=1e3 * gpus * one["images"] / ms,
        efficiency=one["ms"] / ms,
    )
