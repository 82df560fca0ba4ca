"""Our backbones under the shipped configs of mmdet and mmseg.

A handful here, all of them where `slow` tests run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.drop_in.cases import (
    BACKBONES,
    CASES,
    CONTROL,
    config_path,
)
from benchmarks.drop_in.known import FAULTS, surprises
from benchmarks.drop_in.page import GUIDE, PAGE, kinds_table, rules_table, sweep_page
from benchmarks.drop_in.run import RESULTS
from mmmamba.config.foreign import PACKAGES, methods_of
from mmmamba.config.methods import BOUND, NO_METHOD, NOT_HERE, OTHER_DATA

ROOT = Path(__file__).parents[3]


def test_every_method_of_the_installed_packages_has_a_case() -> None:
    found = {f"{package}/{name}" for package in PACKAGES for name in methods_of(package)}
    assert found == {*CASES, *NO_METHOD}
    assert all(config_path(f"{name}/{case.config}.py").is_file() for name, case in CASES.items())


def test_what_is_listed_as_impossible_are_cases() -> None:
    assert {*NOT_HERE, *BOUND, *OTHER_DATA, *(name for name, _ in FAULTS)} <= set(CASES)
    assert not set(NOT_HERE) & set(BOUND)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("mmdet/yolox", "vmamba_t"),
        ("mmdet/detr", "mambavision_t"),
        ("mmseg/fcn", "efficientvmamba_t"),
        ("mmseg/unet", "vim_t"),
    ],
)
def test_a_step_and_a_prediction(name: str, backbone: str) -> None:
    from benchmarks.drop_in.step import run_case

    run_case(name, backbone, {})


def test_a_parameter_without_a_gradient_is_a_fault() -> None:
    import torch

    from benchmarks.drop_in import step

    class Idle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))

        def parse_losses(self, losses):
            return losses["loss"], {}

    model = Idle()
    with pytest.raises(step.Fault, match="without a gradient: idle"):
        step._backward(model, dict(loss=model.used.sum()))


def test_a_case_that_is_not_as_listed_is_told() -> None:
    failed = dict(ok=False, stage="training", reason="ValueError: no")
    results = {
        "mmdet/fcos": {"vim_t": failed, CONTROL: dict(ok=True)},
        "mmdet/cornernet": {"vim_t": dict(ok=True)},
    }
    first, second = surprises(results)
    assert first == "mmdet/fcos vim_t: training: ValueError: no"
    assert second.startswith("mmdet/cornernet vim_t works, though it is listed")


def test_the_stored_results_are_whole_and_as_listed() -> None:
    results = json.loads(RESULTS.read_text())["results"]
    assert list(results) == list(CASES) and all(
        set(row) == {CONTROL, *BACKBONES} for row in results.values()
    )
    assert not list(surprises(results))


def test_the_pages_show_the_stored_results() -> None:
    stored = json.loads(RESULTS.read_text())
    assert PAGE.read_text(encoding="utf-8") == sweep_page(stored)
    guide = GUIDE.read_text(encoding="utf-8")
    assert kinds_table(stored) in guide and rules_table() in guide


@pytest.mark.parametrize(
    "name", ["mmdet/rtmdet", "mmdet/yolo", "mmdet/detr", "mmseg/deeplabv3plus", "mmseg/ocrnet"]
)
def test_the_stored_lines_are_those_of_the_rules(name: str) -> None:
    from mmengine.config import Config

    from benchmarks.drop_in.step import written

    stored = json.loads(RESULTS.read_text())["results"][name]["vmamba_t"]
    rules = written(Config.fromfile(config_path(f"{name}/{CASES[name].config}.py")), "vmamba_t")
    assert json.loads(json.dumps(rules)) == {key: stored[key] for key in rules}


@pytest.mark.slow
def test_everything(tmp_path: Path) -> None:
    """Minutes on sixteen cores, hours on two."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks/drop_in/run.py"),
        "--jobs",
        str(os.cpu_count()),
        "--limit",
        "900",
        "--out",
        str(tmp_path / "results.json"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    stored, found = (
        json.loads(path.read_text())["results"] for path in (RESULTS, tmp_path / "results.json")
    )
    rules = [
        {name: row["vmamba_t"].get("lines") for name, row in results.items()}
        for results in (stored, found)
    ]
    assert rules[0] == rules[1]
