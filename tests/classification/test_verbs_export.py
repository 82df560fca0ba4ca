"""Classifiers as files: what they say of their images, what they compute, and who reads them."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmpretrain")

from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope

import mmmamba
from mmmamba.commands import main
from mmmamba.errors import UsageError
from mmmamba.exporting.describing import default_size, metadata_of
from mmmamba.exporting.graphs import Graph, graph_of
from mmmamba.exporting.metadata import Inputs, Metadata
from mmmamba.exporting.opened.classifier import ExportedClassifier
from mmmamba.exporting.pipelines import fitted, own_pipeline
from mmmamba.exporting.preparing import prepare
from mmmamba.exporting.verify import LIMITS, draw, run_graph
from mmmamba.exporting.verify.checks import TopCheck
from mmmamba.inference.opening import open_model

from .verbs_runs import CLASSES, OURS, RESNET, write_images, write_run

EDGE, CUT = dict(type="ResizeEdge", scale=72), dict(type="CenterCrop", crop_size=64)
LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackInputs")
PILLOW = dict(EDGE, backend="pillow", interpolation="bicubic")
SHAPES = ((150, 220), (231, 160), (90, 91))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("cells") / "data")


@pytest.fixture(scope="module")
def resnet(images: Path) -> Path:
    return write_run(images.parent / "resnet", RESNET, images)


@pytest.fixture(scope="module")
def file(resnet: Path) -> Path:
    """The run as an ONNX file of a fixed size, and its example."""
    return mmmamba.export(resnet).path


class InPyTorch:
    """A runtime that is the graph itself."""

    name = "PyTorch"

    def __init__(self, graph: Graph, metadata: Metadata) -> None:
        self.graph, self.metadata = graph, metadata

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return run_graph(self.graph, inputs)


def config(*steps: dict) -> Config:
    loader = dict(dataset=dict(type="CustomDataset", pipeline=[LOAD, *steps, PACK]))
    return Config(dict(default_scope="mmpretrain", model=dict(), test_dataloader=loader))


def packed(steps: list[dict], image: np.ndarray) -> dict:
    size = image.shape[:2]
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return Compose(steps)(dict(img=image, img_shape=size, ori_shape=size))


@pytest.mark.parametrize(
    "steps",
    [
        [EDGE, CUT],
        [PILLOW, CUT],
        [dict(type="Resize", scale=(64, 48))],
        [dict(type="Resize", scale=64, backend="pillow")],
    ],
)
def test_images_are_prepared_as_mmpretrain_prepares_them(steps, resnet):
    model = open_model(resnet, device="cpu").model
    cfg = config(*steps)
    for size in (None, default_size(cfg).size):
        metadata = metadata_of(graph_of(model), model, cfg, format="onnx", size=size)
        assert not metadata.inputs.unknown and metadata.inputs.channel_order == "rgb"
        for shape in SHAPES:
            image = draw(*shape)
            data = packed([*steps, PACK], image)
            with torch.no_grad():
                wanted = model.data_preprocessor(pseudo_collate([data]))["inputs"][0]
            made = prepare(image, metadata.inputs).image
            torch.testing.assert_close(torch.from_numpy(made), wanted)
            # `infer` does it by steps.
            own = packed(own_pipeline(metadata)[1:], image)
            assert torch.equal(own["inputs"], data["inputs"])
    assert Metadata.from_json(metadata.to_json()) == metadata


def test_another_size_cuts_off_as_much(resnet):
    model = open_model(resnet, device="cpu").model
    cut = metadata_of(graph_of(model), model, config(EDGE, CUT), format="onnx", size=(32, 32))
    assert (cut.inputs.scale, cut.inputs.crop) == ((36, 36), (32, 32))
    # Without a crop images have to fit into the file's.
    whole = metadata_of(graph_of(model), model, config(EDGE), format="onnx", size=(64, 96))
    assert (whole.inputs.resize, whole.inputs.scale) == ("keep_ratio", (96, 72))
    with pytest.raises(UsageError, match="by their shorter side alone, from which no size follows"):
        default_size(config(EDGE))


def test_tests_of_a_file_cut_to_its_size():
    steps = [LOAD, EDGE, CUT, PACK]
    assert fitted(steps, (64, 64)) == steps
    edge, cut = fitted(steps, (32, 32))[1:3]
    assert (edge["scale"], cut["crop_size"]) == (36, (32, 32))


@pytest.mark.parametrize("logits", [False, True])
def test_what_a_file_finds_is_what_the_model_finds(logits, images):
    run = write_run(images.parent / f"ours_{logits}", OURS, images)
    opened = open_model(run, device="cpu")
    graph = graph_of(opened.model, logits=logits)
    assert graph.output_names == (("logits",) if logits else ("scores",))
    metadata = metadata_of(graph, opened.model, opened.cfg, format="onnx", batch=None)
    file = ExportedClassifier("model.onnx", runtime=InPyTorch(graph, metadata)).eval()
    steps = opened.cfg.test_dataloader.dataset.pipeline[1:]
    data = pseudo_collate([packed(steps, draw(*shape)) for shape in SHAPES])
    with torch.no_grad():
        found = zip(opened.model.test_step(data), file.test_step(data))
    for wanted, given in found:
        torch.testing.assert_close(given.pred_score, wanted.pred_score)
        assert torch.equal(given.pred_label, wanted.pred_label)
    with pytest.raises(UsageError, match="cannot be trained"):
        file(data["inputs"], data["data_samples"], mode="loss")


def test_heads_that_score_in_their_own_way_are_refused(resnet):
    opened = open_model(resnet, device="cpu")
    from mmpretrain.models.heads import MultiLabelLinearClsHead

    opened.model.head = MultiLabelLinearClsHead(3, 64)
    with pytest.raises(UsageError, match="MultiLabelLinearClsHead cannot be exported"):
        graph_of(opened.model)
    with pytest.raises(UsageError, match="suppresses no boxes"):
        graph_of(opened.model, nms=False)


def test_classes_change_places_only_where_they_are_as_sure():
    check = TopCheck("scores", LIMITS["float32"])
    wanted = np.float32([[0.1, 0.9], [0.5, 0.5 + 1e-7]])
    check.add(wanted, np.float32([[0.1, 0.9], [0.5 + 1e-7, 0.5]]), "a")
    assert check.result().passed and "1 of 2 images, as sure for 1" in check.result().line
    check.add(wanted, np.float32([[0.9, 0.1], [0.5, 0.6]]), "b")
    assert not check.result().passed and check.result().line.endswith("at b")


def test_a_file_in_the_place_of_a_run(file, resnet, images, tmp_path):
    said = mmmamba.Predictor(file).model.metadata
    assert said.task == "classification" and said.classes == CLASSES
    assert said.inputs.size == said.inputs.crop == (64, 64)
    assert said.verification["outputs"]["surest"] == dict(same=8, images=8)
    for model in (file, resnet):
        words = f"infer {model} {images} --out {tmp_path / model.suffix[1:]} --device cpu"
        more = [] if model == file else ["--precision", "float32"]
        assert main([*words.split(), *more]) == 0
    rows = []
    for folder in ("onnx", ""):
        with (tmp_path / folder / "predictions.csv").open() as table:
            rows.append(list(csv.DictReader(table)))
    for given, wanted in zip(*rows):
        assert (given["file_name"], given["class_1"]) == (wanted["file_name"], wanted["class_1"])
        assert float(given["score_1"]) == pytest.approx(float(wanted["score_1"]), abs=1e-4)
    # The example beside it, by NumPy alone.
    path = images / CLASSES[0] / "1.png"
    example = file.with_name("resnet_example.py")
    done = subprocess.run(
        [sys.executable, example, file, path], capture_output=True, text=True, check=True
    )
    best = mmmamba.Predictor(file)(path)
    printed = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _ in printed] == best.names
    shown = [float(score) for _, score in printed]
    assert shown == pytest.approx(best.scores.tolist(), abs=0.01)


def test_it_is_tested_by_mmpretrain_s_own_metrics(file, resnet, images, tmp_path, capsys):
    model = mmmamba.Predictor(file)
    right = 0
    for label, name in enumerate(CLASSES):
        for path in (images / name).iterdir():
            right += int(model(path).labels[0] == label)
    words = f"test {resnet}/run.py {file} --cfg-options work_dir={tmp_path}/work"
    assert main(words.split()) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "accuracy/top1 " in line)
    assert f"{100 * right / 6:.2f}" in line


@pytest.mark.slow
def test_ours_in_half_precision(images, tmp_path):
    run = write_run(tmp_path / "ours", OURS, images)
    made = mmmamba.export(run, half=True, logits=True, out=str(tmp_path / "a.onnx"))
    assert made.report.passed and made.metadata.precision == "float16"
    found = mmmamba.Predictor(made.path)(cv2.imread(str(images / CLASSES[0] / "0.png")))
    assert found.all_scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.onnx", "a.xml", "a.pt2"])
def test_files_for_any_size(name, resnet, images, tmp_path):
    made = mmmamba.export(resnet, dynamic=True, out=str(tmp_path / name))
    assert made.report.passed and made.metadata.inputs.size is None
    assert made.report.to_json()["outputs"]["surest"] == dict(same=11, images=11)
    path = images / CLASSES[1] / "0.png"
    wanted = mmmamba.Predictor(resnet, precision="float32", device="cpu")(path)
    found = mmmamba.Predictor(made.path, device="cpu")(path)
    np.testing.assert_allclose(found.all_scores, wanted.all_scores, atol=1e-4)


def test_a_file_s_inputs_are_checked(resnet):
    strings = Metadata("onnx", "classification", Inputs(), ("scores",)).to_strings()
    strings["inputs"] = strings["inputs"].replace('"crop": null', '"crop": 5')
    with pytest.raises(UsageError, match="its inputs.crop is 5, wanted two whole numbers"):
        Metadata.from_strings(strings)
