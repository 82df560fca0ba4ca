"""A detector small enough to train within a test, and the tools called in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# Warns on stderr when first imported, which must not be within a test of messages.
import mmdet.evaluation  # noqa: F401
import pytest

from mmmamba.commands import main
from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine import demo

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "mask_rcnn" / "vmamba_t_1x_coco.py"
TINY = f"""
_base_ = "{CONFIG}"
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1))),
    neck=dict(in_channels=[16, 32, 64, 128]),
)
"""
TINY_SEG = f"""
_base_ = "{ROOT}/configs/upernet/vmamba_t_160k_ade20k-512x512.py"
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1))),
    decode_head=dict(in_channels=[16, 32, 64, 128]),
    auxiliary_head=dict(in_channels=64),
)
"""


@pytest.fixture
def tiny_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny VMamba under Mask R-CNN; the demo draws four images and trains one epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "BATCH_SIZE", 2)
    monkeypatch.setattr(demo, "DEFAULT_SPEC", ShapesSpec(num_train=4, num_val=2, size=64))
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Run a tool that must stop with exit code 2, and return the one message it printed."""

    def run(tool: str, *argv: str | Path) -> str:
        capsys.readouterr()
        assert main([tool, *map(str, argv)]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ") and "Traceback" not in message
        return message

    return run
