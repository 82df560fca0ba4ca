"""Downloads are whole or not at all, against a server that misbehaves."""

import hashlib
import io
import resource
import socket
import threading
import urllib.parse
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from mmmamba.checkpoints import (
    CheckpointError,
    catalogue,
    download,
    list_published,
    read_checkpoint,
)
from mmmamba.checkpoints.download import cached_path

STATE = {"w": torch.arange(5.0)}


def file_bytes():
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    return buffer.getvalue()


class Server(BaseHTTPRequestHandler):
    asked: list[str] = []
    extra = 1000
    """Bytes that `/short` announces and does not send."""

    def do_GET(self):
        self.asked.append(self.path)
        content, status, length = file_bytes(), 200, None
        if self.path.startswith("/page"):
            content = b"<!DOCTYPE html><title>Google Drive: virus scan warning</title>"
        elif self.path.startswith("/short"):
            length = len(content) + self.extra
        elif self.path.startswith("/gone"):
            content, status = b"gone", 404
        elif self.path.startswith("/slow"):
            self.server.released.wait(5)
        elif self.path.startswith("/empty"):
            content = b""
        elif self.path.startswith("/length/"):
            length = urllib.parse.unquote(self.path.split("/")[2])
        elif self.path.startswith("/to/"):
            status = 302
        self.send_response(status)
        if status == 302:
            self.send_header("Location", urllib.parse.unquote(self.path.removeprefix("/to/")))
        self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(Server, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def left_over(tmp_path):
    return sorted(
        p.name for p in (tmp_path / "hub").rglob("*") if p.is_file() and p.suffix != ".lock"
    )


def test_a_file_is_fetched_once(site):
    for _ in range(2):
        assert torch.equal(read_checkpoint(f"{site}/good/file.pth")["w"], STATE["w"])
    assert Server.asked == ["/good/file.pth"]


def test_processes_that_ask_together_fetch_once(site):
    threads = [
        threading.Thread(target=read_checkpoint, args=(f"{site}/good/together.pth",))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Server.asked) == 1


def test_files_of_one_name_at_two_urls_do_not_meet(site):
    assert cached_path(f"{site}/maskrcnn/l1_1x.pth") != cached_path(f"{site}/retinanet/l1_1x.pth")
    assert cached_path(f"{site}/a/%2e%2e%2fevil?x=../../y").parent == cached_path(site).parent


@pytest.mark.parametrize(
    "path, message",
    [
        ("/page/file.pth", "is an HTML page.*Download the file in a browser"),
        ("/short/file.pth", r"the download ended after \d.* of \d+ bytes"),
        ("/gone/file.pth", "the server answered 404"),
        ("/empty/file.pth", "is empty"),
    ],
)
def test_a_bad_answer_leaves_nothing_behind(site, tmp_path, path, message):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(site + path)
    assert left_over(tmp_path) == []


def test_a_silent_server_is_given_up(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with pytest.raises(CheckpointError, match="the download failed.*timed out"):
        read_checkpoint(f"{site}/slow/file.pth")
    assert left_over(tmp_path) == []


def test_no_server(site):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(CheckpointError, match="the download failed.*Connection refused"):
        read_checkpoint(f"http://127.0.0.1:{port}/file.pth")


@pytest.mark.parametrize("length", ["-5", "many", "99999999999999999999"])
def test_a_length_that_lies(site, tmp_path, length):
    with pytest.raises(CheckpointError, match=f"ended after .* of {length} bytes"):
        read_checkpoint(f"{site}/length/{length}/file.pth")
    assert left_over(tmp_path) == []


def test_a_download_that_broke_off_is_begun_anew(site, tmp_path, monkeypatch):
    url = f"{site}/short/file.pth"
    with pytest.raises(CheckpointError, match="Try again"):
        read_checkpoint(url)
    monkeypatch.setattr(Server, "extra", 0)
    assert torch.equal(read_checkpoint(url)["w"], STATE["w"])
    assert left_over(tmp_path) == [cached_path(url).name]


def test_a_length_that_is_too_short(site):
    """That cannot be told from a whole download; the file to delete is named."""
    url = f"{site}/length/400/file.pth"
    with pytest.raises(
        CheckpointError, match=f"truncated.*Delete {cached_path(url)} and download it again"
    ):
        read_checkpoint(url)


def test_no_room_for_the_file(site, tmp_path):
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(CheckpointError, match="cannot be stored in .*File too large"):
            read_checkpoint(f"{site}/good/file.pth")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "gopher://x/y", "//"]
)
def test_redirects_out_of_the_web_are_not_followed(site, tmp_path, target):
    with pytest.raises(CheckpointError, match="127.0.0.1") as caught:
        read_checkpoint(f"{site}/to/{urllib.parse.quote(target, safe='')}")
    assert "root:" not in str(caught.value) and left_over(tmp_path) == []


def test_redirects_in_a_circle(site, tmp_path):
    with pytest.raises(CheckpointError, match="redirect"):
        read_checkpoint(f"{site}/to/%2Fto%2F")
    assert left_over(tmp_path) == []


def test_no_way_back_from_https_to_http():
    request = urllib.request.Request("https://example.org/file.pth")
    with pytest.raises(CheckpointError, match="sends us on to http://example.org/file.pth"):
        download._StayOnTheWeb().redirect_request(
            request, None, 302, "", {}, "http://example.org/file.pth"
        )


def test_a_redirect_within_the_web_is_followed(site):
    held = read_checkpoint(f"{site}/to/{urllib.parse.quote(site + '/good/file.pth', safe='')}")
    assert torch.equal(held["w"], STATE["w"])


def test_a_cached_file_that_was_exchanged(site, monkeypatch):
    url = f"{site}/good/exchanged.pth"
    known = replace(list_published()[0], url=url, sha256=hashlib.sha256(file_bytes()).hexdigest())
    monkeypatch.setattr(catalogue, "PUBLISHED", {"VMamba": (known,)})
    read_checkpoint(url)
    torch.save({"w": torch.ones(1)}, cached_path(url))
    with pytest.raises(CheckpointError, match="not the file that was published.*delete"):
        read_checkpoint(url)


def test_a_known_digest_is_checked(site, tmp_path, monkeypatch):
    url = f"{site}/good/digest.pth"
    known = replace(
        list_published()[0], url=url, sha256=hashlib.sha256(b"another file").hexdigest()
    )
    monkeypatch.setattr(catalogue, "PUBLISHED", {"VMamba": (known,)})
    with pytest.raises(CheckpointError, match="not the file that was published"):
        read_checkpoint(url)
    assert left_over(tmp_path) == []


def test_a_download_page_is_named_before_it_is_asked():
    page = next(p for p in list_published() if p.page)
    with pytest.raises(CheckpointError, match="page to download from by hand"):
        read_checkpoint(page.url)
