"""Names of exported files: which ending is which format."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..suggest import did_you_mean

FORMATS = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2", "aoti": ".aoti.pt2"}
"""The formats of files, and how names of their files end."""
ENDINGS = ", ".join(FORMATS.values())
OTHERS = {
    ".engine": "TensorRT",
    ".trt": "TensorRT",
    ".plan": "TensorRT",
    ".tflite": "LiteRT",
    ".mlmodel": "Core ML",
    ".mlpackage": "Core ML",
    ".torchscript": "TorchScript",
    ".ort": "onnxruntime, minimised,",
    ".pb": "TensorFlow",
    ".param": "ncnn",
}
"""Whose files end so, which are not opened here."""


def format_of(path: str | Path) -> str | None:
    """The format of an exported file by the ending of its name; None where it is none of them.

    Raises:
        UsageError: the name is that of a file of another program, or of OpenVINO's weights.
    """
    name = Path(path).name.lower()
    # The longest first: `.aoti.pt2` ends in `.pt2`.
    for kind, ending in sorted(FORMATS.items(), key=lambda item: -len(item[1])):
        if name.endswith(ending):
            return kind
    ending = Path(name).suffix
    if ending in OTHERS:
        raise UsageError(
            f"{path}: files of {OTHERS[ending]} are not opened here, but those that end in "
            f"{ENDINGS}"
        )
    if ending == ".bin" and Path(path).with_suffix(".xml").is_file():
        raise UsageError(
            f"{path} holds the weights alone; name {Path(path).with_suffix('.xml')} beside it"
        )
    return None


def check_file(path: str | Path) -> Path:
    """An exported file that is there.

    Raises:
        UsageError: it is not.
    """
    file = Path(path)
    if file.is_file():
        return file
    if file.is_dir():
        raise UsageError(f"{path} is a folder, wanted a file")
    near = [str(one) for ending in FORMATS.values() for one in file.parent.glob(f"*{ending}")]
    raise UsageError(
        f"there is no file {path}, seen from {Path.cwd()}."
        f"{did_you_mean(str(file), near, 3) or ' mmmamba export MODEL writes one'}"
    )
