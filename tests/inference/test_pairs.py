"""Prediction of pairs: in Python, on the command line, and what is said where one is missing."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmmamba
from mmmamba import Predictor
from mmmamba.commands import main
from mmmamba.errors import UsageError
from mmmamba.inference.pairs import PairNames, with_partners
from mmmamba.inference.sources import UnreadableImage, find_sources

from .pair_runs import draw_pair, write_pairs


@pytest.fixture(scope="module")
def model(pair_run):
    return Predictor(pair_run, device="cpu", precision="float32")


def test_two_files(model, tmp_path):
    labels = write_pairs(tmp_path, ("a",))
    found = model((tmp_path / "rgb/a.png", tmp_path / "thermal/a.png"))
    assert (found.labels == labels).all() and found.path == str(tmp_path / "rgb/a.png")
    # Drawn on are the colours, as they are in the file; beside them the second image.
    assert (found.image == cv2.imread(str(tmp_path / "rgb/a.png"))).all()
    heat = draw_pair()[1]
    assert (found.second == heat[..., None]).all()
    scale = found.plot().shape[0] // 40
    beside = found.plot()[:, 64 * scale : 128 * scale]
    assert abs(int(beside[20 * scale, 15 * scale, 0]) - int(heat[20, 15])) < 3


def test_an_array_and_tiles(model, pair_run):
    image, heat, labels = draw_pair()
    array = np.dstack([image[..., ::-1], heat, heat, heat])
    assert (model(array).labels == labels).all()
    tiled = Predictor(pair_run, device="cpu", precision="float32", tile=32)
    assert (tiled(array).labels == labels).all()
    with pytest.raises(UsageError, match="channels"):
        model(image)


def test_a_folder_of_pairs(model, tmp_path):
    labels = write_pairs(tmp_path, ("a", "night/b"))
    found = list(model.stream(tmp_path / "rgb", second=tmp_path / "thermal"))
    assert [frame.source.name for frame, _ in found] == ["a.png", "night/b.png"]
    assert all((result.labels == labels).all() for _, result in found)


def partners(folder: Path, *inputs, names=None):
    found = find_sources(inputs)
    return [
        source.second and Path(source.second).relative_to(folder).as_posix()
        for source in with_partners(found, inputs, folder / "thermal", names)
    ]


def test_partners_by_name_by_ending_and_by_suffix(tmp_path):
    write_pairs(tmp_path, ("a", "night/b"), second="{}.jpg")
    write_pairs(tmp_path, ("c",))
    rgb = tmp_path / "rgb"
    assert partners(tmp_path, rgb) == ["thermal/a.jpg", "thermal/c.png", "thermal/night/b.jpg"]
    assert partners(tmp_path, rgb / "c.png", rgb / "a.png") == ["thermal/c.png", "thermal/a.jpg"]
    assert partners(tmp_path, f"{rgb}/*/b.png") == ["thermal/night/b.jpg"]
    write_pairs(tmp_path, ("d_rgb",), second="d_t.png")
    with pytest.raises(UsageError, match="1 of 1 images have no second one.*d_rgb.png"):
        partners(tmp_path, rgb / "d_rgb.png")
    names = PairNames("_rgb.png", "_t.png")
    assert partners(tmp_path, rgb / "d_rgb.png", names=names) == ["thermal/d_t.png"]


def test_a_partner_that_could_be_two(tmp_path):
    write_pairs(tmp_path, ("a",), second="{}.jpg")
    write_pairs(tmp_path, ("a",), second="{}.bmp")
    with pytest.raises(UsageError, match=r"may be any of .*a.bmp, .*a.jpg: leave one"):
        partners(tmp_path, tmp_path / "rgb")


def test_what_does_not_go_together(model, segmentor_run, tmp_path):
    write_pairs(tmp_path, ("a", "b"))
    rgb, thermal = tmp_path / "rgb", tmp_path / "thermal"
    with pytest.raises(UsageError, match="takes pairs of images, and .*a.png is one.*--second"):
        model(rgb / "a.png")
    with pytest.raises(UsageError, match="takes pairs"):
        model.stream(rgb)
    with pytest.raises(UsageError, match="is one image, and there are 2 first ones"):
        model.stream(rgb, second=thermal / "a.png")
    with pytest.raises(UsageError, match="no such folder or file"):
        model.stream(rgb, second=tmp_path / "nowhere")
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match="clip.mp4 is no image"):
        model.stream(tmp_path / "clip.mp4", second=thermal)
    (thermal / "b.png").unlink()
    with pytest.raises(UsageError, match="1 of 2 images have no second one .*rgb/b.png"):
        model.stream(rgb, second=thermal)
    cv2.imwrite(str(thermal / "b.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(UnreadableImage, match="is 64 x 40 and .* is 9 x 9"):
        list(model.stream(rgb / "b.png", second=thermal))
    (thermal / "b.png").write_bytes(b"nothing")
    with pytest.raises(UnreadableImage, match="b.png or .*thermal/b.png: no image"):
        model((rgb / "b.png", thermal / "b.png"))
    single = Predictor(segmentor_run, device="cpu", precision="float32")
    with pytest.raises(UsageError, match="takes single images.*leave it out"):
        single.stream(rgb / "a.png", second=thermal)


def test_the_command(pair_run, tmp_path, capsys):
    labels = write_pairs(tmp_path, ("a_rgb", "b_rgb"), second="{}.png")
    for name in ("a", "b"):
        (tmp_path / f"thermal/{name}_rgb.png").rename(tmp_path / f"thermal/{name}_t.png")
    words = ["infer", str(pair_run), str(tmp_path / "rgb"), "--out", str(tmp_path / "out")]
    assert main([*words, "--device", "cpu", "--second", str(tmp_path / "thermal")]) == 0
    assert "warm red" in capsys.readouterr().out
    images = json.loads((tmp_path / "out/images.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a_rgb.png", "b_rgb.png"]
    for image in images:
        written = cv2.imread(str(tmp_path / "out" / image["labels"]), cv2.IMREAD_UNCHANGED)
        assert (written == labels).all()
        assert cv2.imread(str(tmp_path / "out" / image["picture"])).shape[1] > 3 * 64
    assert main([*words, "--device", "cpu"]) == 2
    assert "--second" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_file(pair_run, tmp_path):
    labels = write_pairs(tmp_path, ("a",))
    rgb, thermal = tmp_path / "rgb/a.png", tmp_path / "thermal/a.png"
    out = tmp_path / "pairs.onnx"
    with pytest.raises(UsageError, match="takes pairs: name the second image"):
        mmmamba.export(pair_run, out=out, size=(40, 64), image=rgb)
    made = mmmamba.export(pair_run, out=out, size=(40, 64), image=rgb, second=thermal)
    assert made.report.passed
    inputs = made.metadata.inputs
    assert (inputs.channels, inputs.second_channels, inputs.channel_order) == (6, 3, "rgb")
    model = Predictor(out)
    assert (model((rgb, thermal)).labels == labels).all()
    ((frame, found),) = model.stream(tmp_path / "rgb", second=tmp_path / "thermal")
    assert (found.labels == labels).all() and frame.source.second == str(thermal)
    assert (found.image == cv2.imread(str(rgb))).all()
    with pytest.raises(UsageError, match="takes pairs of images"):
        model(rgb)
    # With NumPy, Pillow and onnxruntime alone.
    words = [sys.executable, str(tmp_path / "pairs_example.py"), str(out), str(rgb), str(thermal)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    shares = dict(line.rsplit(maxsplit=1) for line in printed.splitlines())
    assert shares["warm blue"] == f"{(labels == 3).mean():.1%}"
