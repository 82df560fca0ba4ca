"""Verdicts: right files pass, and files that are wrong in one place do not."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmmamba.errors import UsageError
from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.metadata import Inputs, Metadata
from mmmamba.exporting.runtimes import Runtime, open_runtime
from mmmamba.exporting.verify import LIMITS, Batch, Limits, draw, trial_batches, verify

from .small_files import Conv, conv_metadata, write_conv

DYNAMIC = conv_metadata(batch=None)
SMALL = dict(around=64)


def test_a_right_file_passes(tmp_path):
    runtime = open_runtime(write_conv(tmp_path / "m.onnx", DYNAMIC))
    report = verify(Conv(), runtime, trial_batches(DYNAMIC.inputs, **SMALL))
    assert report.passed
    head, line = report.lines()
    assert head.startswith("onnxruntime ")
    assert "against PyTorch: right (float32; 1 of 64×64, 2 of " in head
    assert "✓ map0 1×4×32×32: largest error" in line
    assert "of the spread, at most 2e-05" in line
    kept = json.loads(json.dumps(report.to_json()))
    assert kept["passed"] is True
    assert kept["outputs"]["map0"]["error_of_spread"] < 2e-5


def test_one_weight_is_enough(tmp_path):
    changed = Conv()
    with torch.no_grad():
        changed.conv.weight[2, 1, 0, 2] += 1e-3
    runtime = open_runtime(write_conv(tmp_path / "m.onnx", DYNAMIC, changed))
    report = verify(Conv(), runtime, trial_batches(DYNAMIC.inputs, **SMALL))
    assert not report.passed
    head, line = report.lines()
    assert "WRONG" in head
    assert "✗ map0" in line
    assert ", at " in line
    assert verify(Conv(), runtime, trial_batches(DYNAMIC.inputs, **SMALL), LIMITS["float16"]).passed


class Cancels(Graph):
    """Numbers of which float32 loses all but three digits."""

    task = "backbone"
    output_names = ("map0",)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ((inputs[0] + 1e4) - 1e4,)


def test_what_float32_loses_itself_is_allowed():
    inputs = conv_metadata(size=(64, 64))
    batches = trial_batches(inputs.inputs)

    def exact(found):
        found["map0"] = batches[0].inputs["images"].copy()

    def wrong(found):
        found["map0"] = batches[0].inputs["images"] + 0.05

    report = verify(Cancels(), Given(Cancels(), inputs, exact), batches[:1])
    assert report.passed
    numbers = report.to_json()["outputs"]["map0"]
    assert 2e-5 < numbers["error_of_spread"] <= 8 * numbers["rounding_of_spread"]
    assert "float32 in PyTorch is itself" in report.lines()[1]
    assert not verify(Cancels(), Given(Cancels(), inputs, wrong), batches[:1]).passed


def test_a_file_that_stops_at_a_size(tmp_path):
    fixed = conv_metadata(size=(64, 64))
    runtime = open_runtime(write_conv(tmp_path / "m.onnx", fixed))
    report = verify(Conv(), runtime, trial_batches(DYNAMIC.inputs, **SMALL))
    assert not report.passed
    assert "✗ run: at 2 of 5" in report.lines()[1]


class Given(Runtime):
    """What a file would give, changed by hand."""

    def __init__(self, graph: Graph, metadata: Metadata, change=lambda found: None) -> None:
        super().__init__(Path("m.onnx"), metadata)
        self.name, self.graph, self.change = "by hand", graph, change

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = self.graph(*map(torch.from_numpy, inputs.values()))
        outputs = {name: one.numpy().copy() for name, one in zip(self.graph.output_names, found)}
        self.change(outputs)
        return outputs


class Boxes(Graph):
    """The same twelve boxes on every image, and three places that hold none."""

    task = "detection"
    input_names = ("images", "image_sizes")
    output_names = ("boxes", "scores", "labels", "masks")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        corners = torch.rand(1, 12, 2) * 200
        boxes = torch.cat([corners, corners + 10 + torch.rand(1, 12, 2) * 50], dim=2)
        self.boxes = torch.cat([boxes, torch.zeros(1, 3, 4)], dim=1)
        scores = torch.linspace(0.9, 0.06, 12)
        self.scores = torch.cat([scores, torch.zeros(3)])[None]
        self.labels = torch.tensor([[0, 1, 2] * 4 + [-1] * 3])
        self.masks = torch.rand(1, 15, 28, 28)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = (self.boxes, self.scores, self.labels, self.masks)
        return tuple(one.expand(len(inputs[0]), *one.shape[1:]) for one in rows)


BOXES = conv_metadata(
    task="detection",
    outputs=Boxes.output_names,
    names=Boxes.input_names,
    size=(64, 64),
    score_threshold=0.05,
)


def check(change, metadata: Metadata = BOXES, limits: Limits | None = None):
    graph = Boxes()
    batches = trial_batches(metadata.inputs)
    return verify(graph, Given(graph, metadata, change), batches, limits)


def reorder(found: dict[str, np.ndarray], order: list[int]) -> None:
    for name in found:
        found[name] = found[name][:, order]


def drop(found: dict[str, np.ndarray], place: int) -> None:
    """One box less; those after it move up."""
    reorder(found, [*(i for i in range(15) if i != place), 14])


def test_the_same_boxes():
    report = check(lambda found: None)
    assert report.passed
    line = report.lines()[1]
    assert "boxes: 12 of 12 matched on 1 image, least IoU 1.00000, scores within 0.0e+00" in line
    assert "masks within 0.0e+00" in line


def test_boxes_of_equal_scores_in_another_order():
    def change(found):
        found["scores"][:, 3:5] = found["scores"][:, 3:5].mean()
        reorder(found, [0, 1, 2, 4, 3, *range(5, 15)])

    assert not check(change).passed
    assert check(change, limits=Limits(score=0.1)).passed


def move(found: dict[str, np.ndarray]) -> None:
    found["boxes"][:, 5] += 1


def relabel(found: dict[str, np.ndarray]) -> None:
    found["labels"][:, 5] = 1


def rescore(found: dict[str, np.ndarray]) -> None:
    found["scores"][:, 5] += 2e-3


def remask(found: dict[str, np.ndarray]) -> None:
    found["masks"][:, 5, 3, 4] += 2e-3


def duplicate(found: dict[str, np.ndarray]) -> None:
    reorder(found, [0, 0, *range(1, 14)])


def swap(found: dict[str, np.ndarray]) -> None:
    reorder(found, [1, 0, *range(2, 15)])


def spoil(found: dict[str, np.ndarray]) -> None:
    found["scores"][:, 2] = math.nan


@pytest.mark.parametrize(
    "change, said",
    [
        (move, "12 of 12 matched .* least IoU 0.77"),
        (relabel, "11 of 13 matched"),
        (rescore, "scores within 2.0e-03"),
        (remask, "masks within 2.0e-03; wanted all, IoU 0.99"),
        (lambda found: drop(found, 5), "11 of 12 matched"),
        (duplicate, "12 of 13 matched"),
        (swap, "not best first"),
        (spoil, "not finite"),
        (lambda found: found.pop("masks"), "masks: the file does not give it, but boxes, scores"),
        (lambda found: found.update(labels=found["labels"][:, :9]), r"labels: .* shape \(1, 9\)"),
        (lambda found: found.update(labels=found["scores"]), "labels: the file gives float32"),
    ],
)
def test_wrong_boxes(change, said):
    report = check(change)
    assert not report.passed
    assert re.search(said, report.lines()[1])


def test_a_box_at_the_threshold_may_be_lost():
    def change(found):
        drop(found, 11)

    assert not check(change).passed
    near = check(change, replace(BOXES, score_threshold=0.0595))
    assert near.passed
    assert "11 of 12 matched on 1 image, 1 at a threshold" in near.lines()[1]


def test_the_last_box_of_a_full_image_may_be_another():
    def fill(graph: Boxes) -> Boxes:
        graph.boxes, graph.scores = graph.boxes[:, :12], graph.scores[:, :12]
        graph.labels, graph.masks = graph.labels[:, :12], graph.masks[:, :12]
        return graph

    def change(found):
        found["boxes"][:, 11] += 300

    full = fill(Boxes())
    batches = trial_batches(BOXES.inputs)
    assert verify(full, Given(full, BOXES, change), batches).passed
    assert not check(change).passed


def test_low_scores_are_compared_too():
    low = Boxes()
    low.scores = low.scores / 100
    metadata = replace(BOXES, score_threshold=None)
    report = verify(low, Given(low, metadata, move), trial_batches(BOXES.inputs))
    assert not report.passed


def test_nothing_found_proves_nothing():
    none = Boxes()
    none.scores, none.labels = none.scores * 0, none.labels * 0 - 1
    report = verify(none, Given(none, BOXES), trial_batches(BOXES.inputs))
    assert report.passed
    assert (
        "none on 1 image, so that nothing is proven of them: give a real image"
        in (report.lines()[1])
    )


def test_int8_is_reported():
    quantised = replace(BOXES, precision="int8")
    report = check(lambda found: drop(found, 5), quantised)
    assert report.passed
    assert "11 of 12 matched on 1 image, least" in report.lines()[1]
    assert not check(spoil, quantised).passed
    none = Boxes()
    none.scores, none.labels = none.scores * 0, none.labels * 0 - 1
    assert verify(none, Given(none, quantised), trial_batches(BOXES.inputs)).passed


class Labels(Graph):
    task = "segmentation"
    output_names = ("labels",)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ((inputs[0].mean(1) > 0).long(),)


def test_label_maps():
    graph = Labels()
    metadata = conv_metadata(task="segmentation", outputs=("labels",), size=(40, 50))
    batches = trial_batches(metadata.inputs)

    def flip(count):
        def change(found):
            found["labels"].reshape(-1)[:count] ^= 1

        return verify(graph, Given(graph, metadata, change), batches)

    assert flip(2).passed
    assert "labels: 99.9000% of 2,000 pixels equal" in flip(2).lines()[1]
    assert not flip(3).passed


def test_constant_maps_are_measured_by_their_size():
    class Constant(Graph):
        task = "backbone"
        output_names = ("map0",)

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (torch.full((1, 2, 3, 3), 10.0),)

    def change(found):
        found["map0"] += 1

    metadata = conv_metadata(size=(8, 8))
    batches = trial_batches(metadata.inputs)
    report = verify(Constant(), Given(Constant(), metadata, change), batches)
    assert report.to_json()["outputs"]["map0"]["error_of_spread"] == pytest.approx(0.1)


def sizes(batches: list[Batch]) -> list[tuple[int, ...]]:
    return [(len(one.inputs["images"]), *one.inputs["images"].shape[2:]) for one in batches]


def test_sizes_that_a_file_is_tried_at():
    tried = sizes(trial_batches(DYNAMIC.inputs))
    assert tried[0] == (1, 224, 224)
    assert tried[1] == (2, 193, 257)
    assert len(tried) == 6
    assert {count for count, _, _ in tried} == {1, 2, 4}
    # As detectors pad them.
    padded = replace(DYNAMIC.inputs, size_divisor=32)
    assert sizes(trial_batches(padded))[1:3] == [(2, 224, 288), (1, 160, 320)]
    fixed = conv_metadata(size=(40, 50), batch=3).inputs
    assert sizes(trial_batches(fixed)) == [(3, 40, 50)]
    assert sizes(trial_batches(replace(DYNAMIC.inputs, batch=2), **SMALL))[2][0] == 2


def test_sizes_without_their_padding():
    inputs = replace(DYNAMIC.inputs, names=("images", "image_sizes"), batch=2, size=(64, 64))
    held = trial_batches(inputs)[0].inputs["image_sizes"]
    assert held.tolist() == [[64, 64], [56, 48]]
    assert held.dtype == np.int64


def test_real_images(tmp_path):
    image = draw(90, 120)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    inputs = replace(BOXES.inputs, resize="keep_ratio", scale=(64, 48), batch=2)
    batch = trial_batches(inputs, [tmp_path / "a.png"])[0]
    assert batch.inputs["image_sizes"].tolist()[0] == [48, 64]
    assert batch.inputs["images"].shape == (2, 3, 64, 64)
    dynamic = replace(inputs, size=None, batch=None)
    assert sizes(trial_batches(dynamic, [tmp_path / "a.png"]))[:2] == [(1, 48, 64), (2, 193, 257)]
    with pytest.raises(UsageError, match="there is no image .*b.png"):
        trial_batches(inputs, [tmp_path / "b.png"])
    (tmp_path / "c.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="c.png is no image of a known format"):
        trial_batches(inputs, [tmp_path / "c.png"])


def test_drawn_images_are_no_noise():
    image = draw(120, 160).astype(float)
    neighbours = np.abs(np.diff(image, axis=1)).mean()
    assert image.std() > 3 * neighbours
    # No two places look alike.
    assert neighbours > 2
    assert draw(30, 40, channels=5).shape == (30, 40, 5)
    assert (draw(30, 40, seed=1) != draw(30, 40, seed=2)).any()


def test_inputs_of_one_channel():
    grey = Inputs(channels=1, channel_order="grey", size=(20, 30), mean=(0.0,), std=(1.0,))
    assert trial_batches(grey)[0].inputs["images"].shape == (1, 1, 20, 30)
