"""`mmmamba bench` measures backbones and detectors, and refuses what it cannot in a line."""

from __future__ import annotations

import builtins
import csv
from pathlib import Path

import pytest
import torch

from mmmamba.commands import main
from mmmamba.commands.bench.measure import measure
from mmmamba.commands.bench.subjects import Subject, backbone_subject
from mmmamba.commands.bench.task import Task
from mmmamba.config.find import find_config
from mmmamba.engine.precision import choose_precision

BACKBONE = 'dict(_delete_=True, type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1)))'
TINY = {
    "mask_rcnn/vmamba_t_1x_coco": f"model = dict(backbone={BACKBONE},\n"
    "    neck=dict(in_channels=[16, 32, 64, 128]),\n"
    "    roi_head=dict(bbox_head=dict(fc_out_channels=32), mask_head=dict(num_convs=1)),\n"
    "    train_cfg=dict(rpn_proposal=dict(max_per_img=20), rcnn=dict(sampler=dict(num=8))),\n"
    "    test_cfg=dict(rpn=dict(max_per_img=20)))",
    "upernet/vmamba_t_160k_ade20k-512x512": f"model = dict(backbone={BACKBONE},\n"
    "    auxiliary_head=dict(in_channels=64),\n"
    "    decode_head=dict(in_channels=[16, 32, 64, 128], channels=32))",
    "mamba_yolo/mamba_yolo_t_300e_coco": "",
}
CPU = torch.device("cpu")
FLOAT32 = choose_precision("float32", CPU)
QUICK = ["--size", "64x90", "--seconds", "0.01", "--device", "cpu"]


def rows(printed: str) -> dict[str, list[str]]:
    """Cells of the table's rows by their model."""
    table = [line.split("  ") for line in printed.splitlines() if line.startswith("  ")]
    found = {}
    for line in table:
        cells = [cell.strip() for cell in line if cell.strip()]
        if len(cells) == 7 and cells[0] != "model":
            found[cells[0]] = cells[1:]
    return found


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(f'_base_ = "{find_config(request.param)}"\n{TINY[request.param]}\n')
    return path


def test_backbones_side_by_side(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("timm")
    argv = ["bench", "mobilemamba_t2", *QUICK, "--precision", "float32"]
    argv += ["--beside", "resnet18", "mobilemamba_t2"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert (
        "inference, 1 x 64x96 (from 64x90), float32 (asked for)" in printed
        and f"torch {torch.__version__[:4]}" in printed
    )
    found = rows(printed)
    assert list(found) == ["mobilemamba_t2", "resnet18 (timm)"]
    parameters, gflops, milliseconds, per_second, peak, speed = found["resnet18 (timm)"]
    # Without its classifier; 1.82 G at 224 x 224 with it.
    assert parameters == "11.2" and gflops == "0.2" and peak == "–" and speed.endswith("x")
    assert 1e3 / float(milliseconds) == pytest.approx(float(per_second), rel=0.05)


@pytest.mark.parametrize("train", [[], ["--train", "--batch", "2"]])
def test_a_whole_model_and_its_backbone(
    tiny: Path, train: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert main(["bench", str(tiny), *QUICK, *train]) == 0
    printed = capsys.readouterr().out
    assert ("forward and backward, 2 x" if train else "inference, 1 x") in printed
    # As `train` is without --amp, and as `test` is.
    chosen = "float32 (training without --amp)" if train else str(choose_precision("auto", CPU))
    assert chosen in " ".join(printed.split())
    (whole, backbone) = rows(printed).items()
    assert whole[0] == "tiny" and backbone[0].endswith("the backbone alone")
    assert float(whole[1][2]) > 0 and whole[1][-1] == "–" and backbone[1][-1] == "1.00x"
    assert float(whole[1][0]) > float(backbone[1][0])


def test_several_models_in_one_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    name = "mamba_yolo/mamba_yolo_t_300e_coco"
    path = tmp_path / "speed.csv"
    argv = ["bench", "mobilemamba_t2", name, *QUICK, "--out", str(path)]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    found = rows(printed)
    assert list(found) == ["mobilemamba_t2", "mamba_yolo_t_300e_coco"]
    assert f"written to {path}" in printed and found["mobilemamba_t2"][-1] == "1.00x"
    with open(path, newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["model"] for row in written] == list(found)
    for row, cells in zip(written, found.values()):
        assert (row["task"], row["height"], row["width"]) == ("inference", "64", "96")
        assert float(row["parameters"]) / 1e6 == pytest.approx(float(cells[0]), abs=0.06)
        assert float(row["milliseconds"]) == pytest.approx(float(cells[2]), abs=0.06)
        assert float(row["speed"]) == pytest.approx(float(cells[-1][:-1]), abs=0.006)
        assert row["peak_mib"] == "" and row["precision"] == choose_precision("auto", CPU).name
        assert row["runtime"] == "torch" and row["file_mib"] == ""


def test_batch_norm_of_one_value(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "tiny.py"
    name = "upernet/vmamba_t_160k_ade20k-512x512"
    path.write_text(f'_base_ = "{find_config(name)}"\n{TINY[name]}\n')
    table = tmp_path / "speed.csv"
    argv = ["bench", "mobilemamba_t2", str(path), *QUICK, "--train", "--out", str(table)]
    assert main(argv) == 2
    said = capsys.readouterr()
    assert "cannot train on one image: --batch 2" in said.err
    # What was measured before is not lost.
    assert list(rows(said.out)) == ["mobilemamba_t2"]
    assert len(table.read_text().splitlines()) == 2


def test_training_goes_backward() -> None:
    task = Task(64, 64, 2, CPU, FLOAT32, True, 0.01)
    subject = backbone_subject("mobilemamba_t2", task)
    seen = []
    next(subject.model.parameters()).register_hook(seen.append)
    result = measure(subject, task)
    assert seen and result.images_per_second == pytest.approx(2e3 / result.milliseconds)


def test_what_does_not_fit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def call() -> None:
        raise torch.OutOfMemoryError("no room")

    task = Task(64, 64, 1, CPU, FLOAT32, False)
    result = measure(Subject("large", torch.nn.Linear(2, 2), call), task)
    assert result.milliseconds is None and result.parameters == 6


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["vmamba_tt"], "'vmamba_t'"),
        (["mask_rcnn/vmamba_t_1x_cocoo"], "'mask_rcnn/vmamba_t_1x_coco'"),
        (["vmamba_t_1x_coco"], "names 2 configs"),
        (["vmamba_t", "--beside", "resnet5"], "'resnet50'"),
        (["vmamba_t", "--size", "800x"], "wanted HEIGHTxWIDTH"),
        (["vmamba_t", "--batch", "0"], "--batch is 0"),
        (["vmamba_t", "--precision", "float8"], "float8"),
        (["vmamba_t", "--precision", "float16", "--device", "cpu"], "float16 is for GPUs"),
        (["vmamba_t", "--graphs", "some"], "wanted off, auto or a number of sizes, not 'some'"),
        (["vmamba_t", "--graphs", "3", "--device", "cpu"], "--graphs 3 asks for CUDA graphs"),
        (["vmamba_t", "--tf32", "yes"], "wanted on or off, not 'yes'"),
        (["vmamba_t", "--tf32", "on", "--device", "cpu"], "--tf32 on is for GPUs"),
        (["vmamba_t", "--device", "cuda:99"], "cuda:99"),
        (["vmamba_t", "--beside", "vit_nothing"], "timm has no model"),
        (["mobilemamba_t2", "vmamba_tt"], "'vmamba_t'"),
        (["vmamba_t", "--out", "speed.txt"], "name it speed.csv"),
        (["vmamba_t", "--out", "no/such/speed.csv"], "there is no folder no/such"),
    ],
)
def test_wrong_input(argv: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    if "--beside" in argv:
        pytest.importorskip("timm")
    try:
        code = main(["bench", *argv])
    except SystemExit as left:
        code = left.code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and error.startswith("error: ") and message in error


def test_without_timm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    real = builtins.__import__

    def absent(name: str, *rest):
        if name == "timm":
            raise ModuleNotFoundError("No module named 'timm'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert main(["bench", "mobilemamba_t2", *QUICK, "--beside", "resnet18"]) == 2
    assert "pip install timm" in capsys.readouterr().err
