"""How fast many GPUs would be, by a model of what was measured on two. No measurement.

A step is what a GPU takes by itself, what all wait for the slowest of N batches, and what the
exchange of gradients adds:

- Waiting: a batch takes one GPU as long as one of those that were timed, each as likely as any
  other. The slowest of N is expected to take what the largest of N such draws is; it is never later
  than the slowest that was timed, so that for many GPUs this is the least there is to wait.
- Exchange: what the two take longer than where they only wait for each other. In a ring each GPU
  sends 2 (N - 1) / N of the gradients, which is 1 for two. Between machines it cannot be faster
  than the network of each GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

from cells import Row

WANTED = (2, 8, 16, 64)
"""GPUs. Two, whose waiting was measured, to compare the model with."""
MACHINE = 8
"""GPUs of one."""
NETWORK = 50e9
"""Bytes a second of a GPU to other machines: 400 Gbit/s."""


def projected(rows: list[Row]) -> list[Row]:
    """A row for each case and number of GPUs, from those of two with graphs."""
    measured = [row for row in rows if row["graphs"] == "auto" and row["gpus"] == 2]
    return [_row(two, gpus) for two in measured for gpus in WANTED]


def slowest(times: Sequence[float], count: int) -> float:
    """The expected largest of so many draws, each of which is any of the times."""
    ordered, most = sorted(times), len(times)
    return sum(
        time * (((place + 1) / most) ** count - (place / most) ** count)
        for place, time in enumerate(ordered)
    )


def _row(two: Row, gpus: int) -> Row:
    times = two["batches"]
    waiting = slowest(times, gpus) - sum(times) / len(times)
    share = 2 * (gpus - 1) / gpus
    exchange = max(0.0, two["ms"] - two["in_step"]) * share
    if gpus > MACHINE:
        exchange = max(exchange, share * 4e6 * two["parameters"] / NETWORK * 1e3)
    ms = two["apart"] + waiting + exchange
    return dict(
        case=two["case"],
        gpus=gpus,
        waiting=waiting,
        waited=two["in_step"] - two["apart"] if gpus == 2 else None,
        exchange=exchange,
        ms=ms,
        speed=1e3 * gpus * two["images"] / ms,
        efficiency=two["alone"] / ms,
    )
