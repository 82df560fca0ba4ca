"""What users name, and what is found under these names."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmamba.errors import UsageError
from mmmamba.inference import UnreadableImage, find_sources, read_frames, sources

from .colours import draw_image

PNG = cv2.imencode(".png", draw_image(20, 30, 1, side=(5, 9)))[1].tobytes()


def read(path: str) -> np.ndarray:
    with sources.local_file(path) as file:
        return cv2.imread(str(file))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "b/x.jpg",
        "a/x.jpg",
        "a/x.png",
        "a/deep/y.TIF",
        "a/.hidden.png",
        ".cache/z.png",
        "a/notes.txt",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return tmp_path / "photos"


def test_a_folder_gives_all_images_below_it_but_hidden_ones(photos):
    found = find_sources(["photos"])
    assert [s.name for s in found] == ["a/x.jpg", "a/x.png", "a/deep/y.TIF", "b/x.jpg"]
    assert [s.stem for s in found] == ["a/x", "a/x_2", "a/deep/y", "b/x"], "results must not meet"


def test_files_of_one_name_from_several_places(photos):
    assert [s.stem for s in find_sources(["photos/a/x.jpg", "photos/b/x.jpg"])] == ["a/x", "b/x"]
    assert [s.stem for s in find_sources(["photos/a/x.jpg"])] == ["x"]


def test_what_is_named_twice_comes_once(photos):
    assert len(find_sources(["photos", "photos/a/*.jpg", photos / "a" / "x.jpg"])) == 4


def test_globs(photos):
    assert [s.name for s in find_sources(["photos/**/*.jpg"])] == ["a/x.jpg", "b/x.jpg"]
    (photos / "odd [1].jpg").write_bytes(PNG)
    assert [s.name for s in find_sources(["photos/odd [1].jpg"])] == ["odd [1].jpg"], (
        "a file, not a pattern"
    )


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("photos/a/x.jgp", r"Did you mean 'photos/a/x.jpg'"),
        ("photos/*.gif", "no image or video matches"),
        ("photos/a/*.txt", "1 other files do"),
        ("empty", "no images in empty"),
    ],
)
def test_what_names_nothing(photos, given, complaint):
    (photos.parent / "empty").mkdir()
    with pytest.raises(UsageError, match=complaint):
        find_sources([given])


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(7):
        writer.write(np.full((48, 64, 3), 30 * number, np.uint8))
    writer.release()
    return path


def test_every_third_frame_of_a_video(video):
    (source,) = find_sources([video])
    frames = list(read_frames(source, read, every=3))
    assert [f.number for f in frames] == [0, 3, 6] and [f.seconds for f in frames] == [0, 0.3, 0.6]
    assert [round(float(f.image.mean()), -1) for f in frames] == [0, 90, 180]
    assert sources.count_frames(source, 3) == 3 and frames[0].rate == pytest.approx(10 / 3)


def test_a_video_that_is_none(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    (source,) = find_sources([tmp_path / "clip.mp4"])
    with pytest.raises(UnreadableImage, match="clip.mp4"):
        list(read_frames(source, read))


class Server(BaseHTTPRequestHandler):
    """Serves what a site may answer."""

    def do_GET(self):
        kind, body, length = {
            "/photo.png": ("image/png", PNG, len(PNG)),
            "/nameless": ("application/octet-stream", PNG, len(PNG)),
            "/page.png": ("text/html", b"<html>", 6),
            "/cut.png": ("image/png", PNG[:50], len(PNG)),
            "/large.png": ("image/png", bytes(3 << 20), 3 << 20),
        }.get(self.path.partition("?")[0], (None, b"", 0))
        if kind is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_addresses(site):
    found = find_sources([f"{site}/photo.png?size=big", f"{site}/photo.png", f"{site}/nameless"])
    assert [s.stem for s in found] == ["photo", "photo_2", "nameless"]
    for source in found:
        (frame,) = read_frames(source, read)
        assert frame.image.shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("gone.png", "404"),
        ("page.png", "sent text/html"),
        ("cut.png", "ended after 50"),
        ("large.png", "than 2 MiB"),
    ],
)
def test_downloads_that_fail(site, page, complaint, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST", 2 << 20)
    with pytest.raises(UnreadableImage, match=complaint):
        read(f"{site}/{page}")


@pytest.mark.parametrize("address", ["s3://bucket/x.png", "http://127.0.0.1:1/x.png", "http://"])
def test_addresses_that_lead_nowhere(address):
    with pytest.raises(UnreadableImage, match=address):
        read(address)
