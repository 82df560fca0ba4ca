"""The example beside an ONNX file: NumPy, Pillow and onnxruntime alone run it on an image."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from ..metadata import Metadata

logger = logging.getLogger("mmmamba")

TEMPLATE = Path(__file__).with_name("template.py")
WHEN = "  # when "
"""Behind a line of the template: the conditions that it stands for, all of which must hold."""
START = "session = "
"""Where the functions of the template end."""
ENDING = "_example.py"


def write_example(path: Path, metadata: Metadata) -> Path | None:
    """Write `NAME_example.py` beside `NAME.onnx`; None, and said in the log, if none can be.

    It has only the lines that this file needs.
    """
    inputs = metadata.inputs
    written = inputs.backend == "pillow" or inputs.interpolation == "bilinear"
    # What Pillow resizes has up to four channels.
    read = inputs.channels in (1, 3) or (inputs.second_channels and inputs.backend != "pillow")
    if inputs.unknown or not read or not written:
        why = f"does {', '.join(inputs.unknown)}"
        if not read:
            why = f"reads images of {inputs.channels} channels, which Pillow does not"
        elif not inputs.unknown:
            why = f"resizes by OpenCV's {inputs.interpolation}, which Pillow does in another way"
        logger.warning("No example is written beside %s: its config %s", path.name, why)
        return None
    example = path.with_name(path.stem + ENDING)
    example.write_text(example_of(path.name, metadata), encoding="utf-8")
    return example


def is_example(path: Path) -> bool:
    """Whether a file is the example beside an ONNX file."""
    name = path.name.removesuffix(ENDING)
    return name != path.name and path.with_name(f"{name}.onnx").is_file()


def example_of(name: str, metadata: Metadata) -> str:
    """The example's text for a file of a name."""
    holds = _conditions(metadata)
    lines: list[str] = []
    for line in TEMPLATE.read_text(encoding="utf-8").splitlines():
        code, when, conditions = line.partition(WHEN)
        if not when or holds.issuperset(conditions.split()):
            lines.append(code)
    functions, start, program = "\n".join(lines).partition(START)
    # Between the parts that are left.
    program = re.sub(r"\n{3,}", "\n\n", program).rstrip() + "\n"
    text = functions + start + program
    return text.replace("EXAMPLE", Path(name).stem + ENDING).replace("MODEL", name)


def _conditions(metadata: Metadata) -> set[str]:
    inputs, outputs = metadata.inputs, metadata.outputs
    holds = {metadata.task, inputs.resize, inputs.pad_place, inputs.backend, inputs.interpolation}
    holds |= {inputs.channel_order} & {"bgr", "grey"}
    holds |= {"pair", inputs.second_color_type} if inputs.second_channels else {"single"}
    if inputs.channel_order != "grey":
        holds.add("colour")
    if inputs.resize in ("keep_ratio", "letterbox"):
        holds.add("scaled")
    if inputs.resize in ("keep_ratio", "none"):
        holds.add("nearest")
    if inputs.multiple > 1:
        holds.add("twice")
    if inputs.crop is not None:
        holds.add("crop")
    sized = "pad_to" if inputs.pad_to else "divided"
    holds.add("fixed" if inputs.size else sized)
    if metadata.task == "segmentation":
        holds.add(outputs[0])
    elif metadata.task == "saliency":
        holds |= {"sigmoid"} if "logits" in outputs else set()
    elif metadata.task == "classification":
        holds |= {"softmax"} if "logits" in outputs else set()
    elif metadata.task == "detection":
        holds.add("masks" if "masks" in outputs else "boxes")
        holds |= set() if "labels" in outputs else {"raw"}
        holds |= {"clipped"} if metadata.clip_boxes else set()
    return holds
