"""What a file says of itself: written, read again, and refused where it is something else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmmamba.errors import UsageError
from mmmamba.exporting.metadata import Inputs, Metadata, Origin

WHOLE = Metadata(
    format="onnx",
    task="detection",
    inputs=Inputs(
        names=("images", "image_sizes"),
        size=(640, 800),
        batch=None,
        resize="keep_ratio",
        scale=(1333, 800),
        size_divisor=32,
        pad_value=(1.5, 2.0, 3.0),
    ),
    outputs=("boxes", "scores", "labels"),
    classes=("Katze", 'a "dog"', "\u732b"),
    palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
    origin=Origin("configs/a.py", "a.pth", "2026-11-29"),
    score_threshold=0.05,
    precision="float16",
    verification=dict(passed=True, lines=["a", "b"]),
)


def test_it_comes_back_as_it_went():
    strings = WHOLE.to_strings()
    assert all(isinstance(value, str) for value in strings.values())
    assert Metadata.from_strings(strings) == WHOLE
    assert Metadata.from_json(WHOLE.to_json()) == WHOLE
    # Others may add keys of their own.
    assert Metadata.from_strings(strings | dict(author="me")) == WHOLE


def test_files_from_before_there_were_pairs_take_single_images():
    strings = WHOLE.to_strings()
    old = json.loads(strings["inputs"])
    del old["second_channels"], old["second_color_type"]
    assert Metadata.from_strings(strings | dict(inputs=json.dumps(old))) == WHOLE


def test_shapes_of_inputs():
    assert WHOLE.inputs.shape("images") == (None, 3, 640, 800)
    assert WHOLE.inputs.shape("image_sizes") == (None, 2)
    assert replace(WHOLE.inputs, size=None, batch=2).shape("images") == (2, 3, None, None)


@pytest.mark.parametrize("strings", [{}, dict(author="me"), dict(mmmamba_version='"1"')])
def test_foreign_files_are_told(strings):
    with pytest.raises(UsageError, match="m.onnx was not written by `mmmamba export`"):
        Metadata.from_strings(strings, "m.onnx")


def test_another_layout_is_told():
    strings = WHOLE.to_strings() | dict(layout="2", mmmamba_version='"9.0"')
    with pytest.raises(UsageError, match="by mmmamba 9.0, whose metadata have layout 2; mmmamba"):
        Metadata.from_strings(strings, "m.onnx")


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("classes", "[1", "classes is .1, which is no JSON"),
        ("classes", '"cat"', "its classes is cat, wanted another kind"),
        ("classes", "[1]", r"its classes is \[1\]"),
        ("task", '"counting"', "its task is counting, wanted backbone or detection or"),
        ("layout", "true", "its layout is True"),
        ("inputs", "{}", "its inputs is {}, wanted one with names, channels"),
        ("origin", '{"config": ""}', "wanted one with checkpoint, date"),
        ("score_threshold", '"low"', "its score_threshold is low"),
    ],
)
def test_damage_is_told(key, value, said):
    with pytest.raises(UsageError, match=f"m.onnx: .*{said}"):
        Metadata.from_strings(WHOLE.to_strings() | {key: value}, "m.onnx")


@pytest.mark.parametrize(
    "name, value, wanted",
    [
        ("size", [640], "two whole numbers or null"),
        ("size", [640, -1], "two whole numbers or null"),
        ("batch", 0, "a whole number or null"),
        ("resize", "crop", "keep_ratio or short_edge or stretch or letterbox or none"),
        ("mean", "0", "a list of numbers"),
        ("channels", True, "a whole number above 0"),
        ("sizes_with_padding", 1, "true or false"),
    ],
)
def test_damaged_inputs_are_told(name, value, wanted):
    strings = WHOLE.to_strings()
    inputs = json.loads(strings["inputs"]) | {name: value}
    with pytest.raises(UsageError, match=f"its inputs.{name} is .* wanted {wanted}"):
        Metadata.from_strings(strings | dict(inputs=json.dumps(inputs)))


def test_a_missing_key_is_told():
    strings = WHOLE.to_strings()
    del strings["outputs"]
    with pytest.raises(UsageError, match="the file does not say its outputs"):
        Metadata.from_strings(strings)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_json_that_is_none(text):
    with pytest.raises(UsageError, match="the metadata is .* no JSON|its metadata are"):
        Metadata.from_json(text)
