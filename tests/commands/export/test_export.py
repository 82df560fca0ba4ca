"""`mmmamba export` from its arguments to what is exported, and its exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import mmmamba
from mmmamba.commands import main
from mmmamba.exporting.request import Request, Subject

from ...inference import colours

detector_run, segmentor_run = colours.detector_run, colours.segmentor_run
TINY = ["--cfg-options", "embed_dims=16", "depths=(1,1,1,1)"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Subject, Request]]:
    """What the exporter is given, which here exports nothing."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def export_file(subject: Subject, request: Request, log: Any) -> Any:
        calls.append((subject, request))
        log("exported")
        # As if verification had failed for files of this name.
        passed = "wrong" not in request.out.name
        return SimpleNamespace(path=request.out, report=SimpleNamespace(passed=passed))

    fake: Any = ModuleType("mmmamba.exporting.run")
    fake.export_file, fake.Exported = export_file, SimpleNamespace
    monkeypatch.setitem(sys.modules, "mmmamba.exporting.run", fake)
    monkeypatch.delitem(sys.modules, "mmmamba.commands.export.create", raising=False)
    monkeypatch.delitem(mmmamba.__dict__, "export", raising=False)
    yield calls
    # The next test imports the real one.
    sys.modules.pop("mmmamba.commands.export.create", None)


def test_a_run_is_exported_into_its_folder(
    asked: list, detector_run: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = ["export", str(detector_run), "--size", "64", "96", "--batch", "2", "--no-nms"]
    assert main(argv) == 0
    assert "exported\n" in capsys.readouterr().out
    ((subject, request),) = asked
    assert request.out == detector_run / "detector.onnx"
    assert (request.size, request.batch, request.nms, request.device) == ((64, 96), 2, False, "cpu")
    assert subject.classes == colours.CLASSES and subject.palette[0] == (40, 80, 220)
    assert Path(subject.config).name == "colours.py" and subject.checkpoint.endswith("epoch_1.pth")
    assert not subject.model.training and subject.cfg.default_scope == "mmdet"


def test_a_config_and_a_checkpoint(asked: list, segmentor_run: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.py"
    config.write_text((segmentor_run / "colours.py").read_text())
    checkpoint = segmentor_run / "epoch_1.pth"
    argv = ["export", str(config), str(checkpoint), "--format", "openvino", "--logits"]
    assert main([*argv, "--size", "64x96"]) == 0
    ((subject, request),) = asked
    assert request.out == Path("mine.xml") and request.logits and request.size == (64, 96)
    assert subject.checkpoint == str(checkpoint) and subject.classes[0] == "nothing"


def test_a_backbone_by_name(asked: list, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", "vmamba_t", "--dynamic", "--out", "maps.pt2", *TINY]) == 0
    ((subject, request),) = asked
    assert request.dynamic and request.format == "pt2" and subject.cfg is None
    assert "vmamba_t has random weights" in capsys.readouterr().out
    assert subject.config == "vmamba_t" and subject.checkpoint == "" and subject.classes == ()
    with torch.no_grad():
        assert subject.model(torch.zeros(1, 3, 32, 32))[0].shape[1] == 16


def test_weights_of_a_backbone(asked: list, tmp_path: Path) -> None:
    backbone = mmmamba.create_backbone("vmamba_t", embed_dims=16, depths=(1, 1, 1, 1))
    torch.save(backbone.state_dict(), tmp_path / "mine.pth")
    assert main(["export", "vmamba_t", "mine.pth", *TINY]) == 0
    ((subject, _),) = asked
    for name, value in backbone.state_dict().items():
        assert torch.equal(subject.model.state_dict()[name], value)


def test_a_file_that_is_not_right_ends_in_1(asked: list, detector_run: Path) -> None:
    assert main(["export", str(detector_run), "--out", "wrong.onnx"]) == 1


def test_the_call_does_what_the_command_does(asked: list, detector_run: Path) -> None:
    said: list[str] = []
    made = mmmamba.export(detector_run, dynamic=True, half=True, log=said.append)
    assert made.path == detector_run / "detector_half.onnx" and said == ["exported"]
    ((_, request),) = asked
    assert request.dynamic and request.half and request.precision == "float16"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["vmamba_tt"], "neither a run's folder, nor a config, nor a backbone. Did you mean 'vmam"),
        (["gone/run"], "there is no config file gone/run"),
        (["model.onnx"], "model.onnx is exported already"),
        (["vmamba_t", "--format", "onx"], "Did you mean 'onnx'"),
        (["vmamba_t", "--size", "64x"], "wanted HEIGHT WIDTH such as 480 640, or one side, not"),
        (["vmamba_t", "--size", "64", "64", "64"], "--size is 64 64 64"),
        (["vmamba_t", "--imgsz", "64"], "That is '--size' here"),
        (["vmamba_t", "--int8"], "--int8 needs images"),
        (["vmamba_t", "--device", "tpu"], "'tpu' is no device"),
        (["vmamba_t", "--out", "gone/mine.onnx"], "there is no folder gone"),
        (["vmamba_t", "gone.pth"], "gone.pth"),
        (["vmamba_t", "--cfg-options", "depth=3"], "--cfg-options of vmamba_t: "),
    ],
)
def test_wrong_input(
    argv: list[str], said: str, asked: list, capsys: pytest.CaptureFixture
) -> None:
    try:
        code = main(["export", *argv])
    except SystemExit as left:
        code = left.code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and error.startswith("error: ") and said in error
    assert asked == []


def test_what_other_programs_call_it(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["deploy", "work_dirs/demo"])
    assert "That is 'export' here" in capsys.readouterr().err
