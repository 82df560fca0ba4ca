"""What is measured of models as they run by default, and how it is held to eager mode's results."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

# Scripts of one folder import one another by name, as they do when they are run.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
script = importlib.import_module("defaults_gpu")
loads = importlib.import_module("defaults.loads")
cases = importlib.import_module("defaults.cases")
multiscale = importlib.import_module("defaults.multiscale")


def some_load(noise: float = 0.0) -> Any:
    """Training passes of a linear layer; `noise` is what a pass adds to its results at random."""
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    random = torch.Generator().manual_seed(0)

    def step(n: int) -> list[Tensor]:
        model.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return [loss.detach() + noise * torch.rand((), generator=random)]

    def left() -> list[Tensor]:
        return [p.grad for p in model.parameters()]

    return loads.Load(model, step, loads.weights_of(model), left)


def begun(value: float) -> Any:
    return loads.Begun([0.0], [torch.tensor(value)], [torch.ones(2)], 1.0)


def test_a_row_says_what_a_step_takes_with_and_without_graphs() -> None:
    row = loads.measure_default(some_load())
    assert row["equal"] == "bit for bit"
    assert row["ms"] > 0 and row["eager_ms"] > 0
    assert {"gpu", "kernels", "launches", "gib", "eager_gib", "memory", "later"} <= row.keys()


@pytest.mark.parametrize("factor", [1.01, math.nan])
def test_graphs_that_change_results_have_no_numbers(factor: float, monkeypatch) -> None:
    def wrong(model: nn.Module, graphs: str) -> None:
        model.register_forward_hook(lambda module, args, output: factor * output)

    monkeypatch.setattr(loads, "graph_model", wrong)
    with pytest.raises(loads.Missed, match="results with graphs differ from eager mode"):
        loads.measure_default(some_load())


def test_graphs_may_differ_as_eager_mode_does_from_itself() -> None:
    assert "eager mode twice" in loads.measure_default(some_load(noise=1e-5))["equal"]
    assert loads.agreement(begun(1.002), begun(1.0), begun(1.001)) != "bit for bit"
    with pytest.raises(loads.Missed):
        loads.agreement(begun(1.004), begun(1.0), begun(1.001))


def test_what_does_not_repeat_itself_is_no_measure() -> None:
    with pytest.raises(loads.Missed, match="eager mode from itself by 1.0e-01"):
        loads.agreement(begun(1.1), begun(1.0), begun(1.1))


def test_results_of_other_shapes_differ() -> None:
    assert loads.difference([torch.ones(2)], [torch.ones(3)]) == math.inf
    assert loads.difference([torch.ones(2)], [torch.ones(2)]) == 0


def test_rounding_of_what_is_next_to_nothing_counts_little() -> None:
    want = [torch.ones(2), torch.tensor([1e-9])]
    assert loads.difference([torch.ones(2), torch.tensor([3e-9])], want) < 1e-6


def test_the_wait_is_that_of_the_size_that_waits_longest() -> None:
    graphs = [1.0, 1.0, 3.0, 1.0, 1.0, 1.5]
    assert loads.longest_wait(graphs, [1.0] * 6, sizes=2) == pytest.approx(2.0)
    assert loads.longest_wait(graphs, [1.0] * 6, sizes=1) == pytest.approx(2.0)


def case(make: Callable[[bool], Any], **more: Any) -> Any:
    return cases.Case("some", "a model", "a step", make, **more)


def test_a_row_that_fails_says_so_and_the_others_go_on(tmp_path: Path, capsys) -> None:
    def fails(small: bool) -> Any:
        raise ValueError("first line\nno such thing")

    table, more = script.rows_table(), script.multiscale_table()
    args = argparse.Namespace(small=True, out=tmp_path / "rows.json", multiscale=more)
    some = dict(
        peer=case(lambda small: some_load(), ours=False),
        broken=case(fails, peer="peer"),
        good=case(lambda small: some_load(), peer="peer", ms=1e6, times=1e-6),
    )
    script.measure_rows(table, some, args)
    peer, broken, good = json.loads(args.out.read_text())["tables"]["rows"]
    assert broken["failed"] == "no such thing"
    assert "ms" not in broken
    assert good["peer_ms"] == peer["ms"]
    assert good["missed"] == []


def test_rows_of_an_earlier_run_stay_unless_they_are_measured_anew(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    earlier = script.rows_table()
    for name in ("a", "b"):
        script.replace(earlier, "name", name=name, ms=1.0)
    script.save_all(out, earlier)
    table = script.rows_table()
    script.keep_rows(out, table, script.multiscale_table())
    script.replace(table, "name", name="a", ms=2.0)
    script.replace(table, "name", name="c", ms=3.0)
    assert [(row["name"], row["ms"]) for row in table.rows] == [("a", 2), ("b", 1), ("c", 3)]


def test_what_was_wanted_and_missed_is_named() -> None:
    row = dict(ms=12.0, gpu=8.0, eager_ms=20.0, eager_gpu=8.0, memory=30.0, later=0.5)
    wanted = case(lambda small: some_load(), ms=10, gpu=9, times=4)
    found = script.compared(wanted, row, dict(ms=36.0))
    assert found["missed"] == [
        "1.5 wall over GPU time, wanted 1.25",
        "30 % more memory, wanted 25",
        "12 ms, wanted 10",
        "0.333 of the peer's time, wanted 0.25",
    ]


def test_peers_are_measured_before_those_that_are_compared_with_them() -> None:
    every = cases.all_cases(Path("data"))
    names = list(every)
    for name, one in every.items():
        assert not one.peer or names.index(one.peer) < names.index(name)
        assert one.ours or not one.peer
    assert list(script.chosen(every, ["mamba_yolo_t-640"])) == ["rtmdet_s-1", "mamba_yolo_t-640"]


def test_batches_are_padded_to_the_larger_image_and_the_divisor() -> None:
    assert multiscale.padded(((480, 640), (500, 600)), 64) == (512, 640)


def test_coarser_sizes_are_fewer_and_hold_more_padding(monkeypatch) -> None:
    monkeypatch.setattr(multiscale, "MANY", 300)
    fine, coarse = multiscale.counts(32), multiscale.counts(128)
    assert fine["sizes"] > coarse["sizes"]
    assert fine["padding"] < coarse["padding"]
