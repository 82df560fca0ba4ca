"""`mmmamba doctor` says what runs where, and notices a backend that computes wrongly."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import pytest
import torch

from mmmamba.commands import main
from mmmamba.commands.doctor.bandwidth import measure_rates
from mmmamba.commands.doctor.choices import scan_choices
from mmmamba.commands.doctor.mmcv_checks import check_mmcv_operators
from mmmamba.commands.doctor.norm_checks import check_layer_norm
from mmmamba.commands.doctor.scan_checks import check_scan
from mmmamba.engine.precision import choose_precision
from mmmamba.ops.selective_scan import ENVIRONMENT
from mmmamba.ops.selective_scan.dispatch import _resolve

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_choice() -> None:
    _resolve.cache_clear()
    yield
    _resolve.cache_clear()


def test_all_that_runs_here_is_right() -> None:
    checks = [*check_layer_norm(CPU), *check_mmcv_operators(CPU)]
    for name in ("cpu", "torch", "naive"):
        checks += check_scan(name, CPU)
    assert [c for c in checks if not c.passed] == []
    assert {c.dtype for c in checks} == {
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
    }


def test_a_healthy_machine(capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    words = {" ".join(line.split()) for line in printed.splitlines()}
    assert f"torch {version('torch')}" in words
    assert "cpu cpu taken the first of those that can run" in words
    assert "cpu triton cannot run its kernels are for CUDA, not cpu" in words
    wrapped = " ".join(word for word in printed.replace("\n", " ").split())
    assert f"predictions in {choose_precision('auto', CPU)}" in wrapped
    assert "GB/s" in printed and "FAILED" not in printed and "INFO" not in printed
    assert printed.splitlines()[-1] == "27 of 27 checks passed"
    assert max(map(len, printed.splitlines())) <= 120


@pytest.mark.parametrize("fault", ["wrong output", "wrong gradient", "NaN", "crash"])
def test_a_backend_that_is_wrong(
    fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    backend = importlib.import_module("mmmamba.ops.selective_scan.torch")
    name = "backward" if fault == "wrong gradient" else "forward"
    right = getattr(backend, name)

    def wrong(*arguments):
        if fault == "crash":
            raise RuntimeError("no kernel image")
        first, *rest = right(*arguments)
        return (first * (float("nan") if fault == "NaN" else 1.01), *rest)

    monkeypatch.setattr(backend, name, wrong)
    assert main(["doctor", "--device", "cpu", "--no-speed"]) == 1
    printed = capsys.readouterr().out
    wanted = "RuntimeError: no kernel image" if fault == "crash" else "relative error"
    assert f"FAILED: selective_scan, torch on cpu, float32: {wanted}" in printed
    assert "FAILED: selective_scan, cpu" not in printed and "GB/s" not in printed


def test_a_variable_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "naive")
    states = {choice.backend: (choice.state, choice.why) for choice in scan_choices(CPU)}
    assert states["naive"] == ("taken", f"asked for by ${ENVIRONMENT}")
    assert states["cpu"] == ("on request", f"${ENVIRONMENT}=naive")


def test_a_variable_that_asks_for_what_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "mamba_ssm")
    assert main(["doctor", "--device", "cpu"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        f"FAILED: selective-scan backend 'mamba_ssm', asked for by ${ENVIRONMENT}, cannot run"
        in printed
    )


def test_rates_are_measured() -> None:
    copy, forward, step = measure_rates(CPU, seconds=0.05)
    assert (
        copy.what == "copy" and forward.what.endswith("forward") and step.what.endswith("backward")
    )
    assert all(0.01 < rate.gigabytes_per_second < 1e4 for rate in (copy, forward, step))


@pytest.mark.parametrize("device", ["cud", "cuda:99", "tpu"])
def test_no_such_device(device: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor", "--device", device]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.gpu
def test_a_gpu_is_right() -> None:
    device = torch.device("cuda")
    names = [choice.backend for choice in scan_choices(device) if choice.runs]
    assert "triton" in names
    checks = [*check_layer_norm(device), *check_mmcv_operators(device)]
    for name in names:
        checks += check_scan(name, device)
    assert [c for c in checks if not c.passed] == []
    assert main(["doctor"]) == 0
