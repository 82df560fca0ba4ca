"""`mmmamba infer`, `Predictor` and `mmmamba bench` with classifiers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmpretrain")

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import nn

import mmmamba
from mmmamba.commands import main
from mmmamba.config.find import find_config, weights_of
from mmmamba.engine.precision import Precision
from mmmamba.engine.predicting import predict_in
from mmmamba.errors import UsageError
from mmmamba.inference.arguments import check_task
from mmmamba.inference.classes import find_classes
from mmmamba.inference.predictor import Predictor
from mmmamba.structures.classes import Classes
from mmmamba.visualization.predictions import draw_classification

from .verbs_runs import CLASSES, OURS, RESNET, write_clip, write_images, write_run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("cells") / "data")


@pytest.fixture(scope="module")
def ours(images: Path) -> Path:
    return write_run(images.parent / "ours", OURS, images)


@pytest.fixture(scope="module")
def resnet(images: Path) -> Path:
    """A classifier all of whose parts are mmpretrain's, its preprocessor beside the model."""
    return write_run(images.parent / "resnet", RESNET, images)


def wanted_scores(model: nn.Module, path: Path) -> np.ndarray:
    """What mmpretrain finds in an image that it is handed prepared."""
    image = cv2.imread(str(path))
    height, width = image.shape[:2]
    # ResizeEdge of 72 and CenterCrop of 64.
    sides = (72 * width // min(height, width), 72 * height // min(height, width))
    image = cv2.resize(image, sides)
    top, left = round((image.shape[0] - 64) / 2), round((image.shape[1] - 64) / 2)
    cut = torch.from_numpy(image[top : top + 64, left : left + 64]).permute(2, 0, 1)
    data = model.data_preprocessor(dict(inputs=[cut]), False)
    with torch.no_grad():
        return model(data["inputs"]).softmax(1)[0].numpy()


@pytest.mark.parametrize("run", ["ours", "resnet"])
def test_a_folder_of_images(run, images, tmp_path, capsys, request):
    folder = request.getfixturevalue(run)
    words = f"infer {folder} {images} --out {tmp_path} --precision float32 --batch-size 4 --top-k 2"
    assert main(words.split()) == 0
    told = capsys.readouterr().out
    assert "images" in told and "6 images at" in told
    listed = json.loads((tmp_path / "images.json").read_text())
    assert listed["classes"] == list(CLASSES)
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    model = Predictor(folder, precision="float32").model
    assert len(rows) == len(listed["images"]) == 6
    for row, entry in zip(rows, listed["images"]):
        scores = wanted_scores(model, images / row["file_name"])
        best, second = np.argsort(-scores)[:2]
        assert (row["class_1"], row["class_2"]) == (CLASSES[best], CLASSES[second])
        assert float(row["score_1"]) == pytest.approx(scores[best], abs=1e-5)
        assert list(entry["scores"]) == [row["class_1"], row["class_2"]]
        assert row["frame"] == row["seconds"] == "" and "class_3" not in row
        drawn = cv2.imread(str(tmp_path / entry["picture"]))
        # Enlarged, so that names can be read, which stand at the top left.
        assert max(drawn.shape) == 480
        plain = cv2.resize(cv2.imread(str(images / row["file_name"])), drawn.shape[1::-1])
        assert np.abs(drawn[:30, :90].astype(int) - plain[:30, :90]).mean() > 20
        assert np.abs(drawn[200:].astype(int) - plain[200:]).mean() < 5


def test_a_video_s_frames_have_a_row_each(ours, tmp_path):
    write_clip(tmp_path / "a.mp4")
    assert main(f"infer {ours} {tmp_path}/a.mp4 --out {tmp_path}/out --every 2".split()) == 0
    with (tmp_path / "out/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["seconds"]) for row in rows] == [("0", "0.0"), ("2", "0.2")]
    assert (tmp_path / "out/pictures/a.mp4").is_file()


def test_a_result_in_python(resnet, images):
    model = mmmamba.Predictor(resnet, top_k=2, precision="float32")
    path = images / CLASSES[0] / "0.png"
    found = model(path)
    assert len(found) == 2 and found.all_scores.sum() == pytest.approx(1)
    assert found.scores[0] == found.all_scores.max() and found.names[0] == CLASSES[found.labels[0]]
    assert list(found.rows()[0]) == ["name", "score", "label"]
    assert f"{found.names[0]} {found.scores[0]:.2f}" in repr(found)
    # Each as if it stood alone, whatever shares a batch with it.
    pair = [cv2.imread(str(path)), np.zeros((50, 200, 3), np.uint8)]
    np.testing.assert_allclose(model.predict(pair)[0].all_scores, found.all_scores, atol=1e-6)


def test_scores_are_made_in_float32_of_logits_in_half_precision(ours):
    model = Predictor(ours, precision="float32").model
    step = predict_in(model, Precision(torch.bfloat16, torch.device("cpu"), "a test"))
    data = dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)], data_samples=[DataSample()])
    with torch.no_grad():
        scores = step(data)[0].pred_score
    assert scores.dtype == torch.float32 and float(scores.sum()) == pytest.approx(1, abs=1e-6)


def test_names_stand_below_one_another_as_long_as_there_is_room():
    classes = Classes(("cat", "dog"), ((255, 0, 0), (0, 255, 0)), (1, 2))
    black = np.zeros((60, 480, 3), np.uint8)
    two = draw_classification(black, [1, 0], [0.9, 0.1], classes)
    # Blue, green, red: the surest at the top.
    assert two[1, 0].tolist() == [0, 255, 0] and two[25, 0].tolist() == [0, 0, 255]
    many = draw_classification(black, [0, 1] * 9, [0.1] * 18, classes)
    assert many.shape == black.shape and not black.any()


def test_what_means_nothing_is_refused(ours, images, capsys):
    for flag, said in (("--tile 64", "says one thing of a whole"), ("--score-thr 0.5", "--top-k")):
        assert main(f"infer {ours} {images} {flag}".split()) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match="only classifiers rank"):
        check_task("detection", None, 3, None)


def test_names_are_as_many_as_classes(ours):
    model = Predictor(ours).model
    meta = dict(dataset_meta=dict(classes=CLASSES[:2]))
    with pytest.raises(UsageError, match="tells 3 classes apart, .* names 2"):
        find_classes(model, Config(dict(default_scope="mmpretrain")), meta)


def test_its_authors_weights_are_known():
    for name, task in (
        ("vmamba_t_300e_imagenet", "classification"),
        ("mobilemamba_t2_300e_imagenet", "classification"),
        ("mobilemamba_t2_1000e-distilled_imagenet", "classification_distilled"),
        ("groupmamba_t_300e-distilled_imagenet", "classification"),
    ):
        config = find_config(f"imagenet/{name}")
        (found,) = weights_of(config, name.split("_300e")[0].split("_1000e")[0])
        assert found.task == task


def test_a_file_of_the_backbone_is_all_of_a_classifier_that_ends_in_it(ours, tmp_path):
    """As authors publish it, without `backbone.` before the names."""
    held = torch.load(ours / "epoch_1.pth")["state_dict"]
    plain = {name.removeprefix("backbone."): value for name, value in held.items()}
    torch.save(plain, tmp_path / "plain.pth")
    model = Predictor(ours / "run.py", tmp_path / "plain.pth").model
    torch.testing.assert_close(dict(model.state_dict()), held)


def test_without_mmpretrain_one_line_says_what_to_install(resnet, images, monkeypatch, capsys):
    monkeypatch.setattr("mmmamba.config.modules.find_spec", lambda name: None)
    assert main(f"infer {resnet} {images}".split()) == 2
    assert "made by mmpretrain, which is not installed: pip install" in capsys.readouterr().err


def test_bench_at_the_size_of_their_tests(ours, resnet, tmp_path, capsys):
    table = tmp_path / "speed.csv"
    words = f"bench {ours} {resnet}/run.py --seconds 0.01 --device cpu --out {table}"
    assert main(words.split()) == 0
    assert "1 x 64x64" in capsys.readouterr().out
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["ours", "run"]
    assert all(float(row["milliseconds"]) > 0 for row in rows)


def test_bench_trains(resnet, capsys):
    words = f"bench {resnet} --train --batch 2 --seconds 0.01 --device cpu --size 32"
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        assert main(words.split()) == 0
    assert "resnet" in capsys.readouterr().out
