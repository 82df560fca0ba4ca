"""`mmmamba download` fetches published weights, and says their licence and digest."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from mmmamba.checkpoints import catalogue, list_published
from mmmamba.checkpoints.download import cached_path
from mmmamba.commands import main

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 1000


class Server(BaseHTTPRequestHandler):
    """Drops the connection in the middle of the first answer."""

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 100 if self.server.asked == 1 else None])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_command(server, monkeypatch, capsys) -> None:
    url = f"http://127.0.0.1:{server.server_port}/file.pth"
    known = replace(list_published("vmamba_t")[0], url=url, licence="MIT [really]", note="a note")
    monkeypatch.setattr(catalogue, "PUBLISHED", {"VMamba": (known,)})
    assert main(["download", "vmamba_t"]) == 2
    printed = capsys.readouterr()
    assert "licence: MIT [really]" in printed.out and "note: a note" in printed.out
    error = printed.err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "ended after 100 of 256004 bytes. Try again" in error

    assert main(["download", "vmamba_t"]) == 0
    printed = capsys.readouterr().out
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert f"file: {cached_path(url)} (256,004 bytes)" in printed
    assert f"sha256: {digest} (none is published" in printed
    assert main(["download", "vmamba_t"]) == 0
    assert "was there already" in capsys.readouterr().out and server.asked == 2

    other = replace(known, sha256="0" * 64)
    monkeypatch.setattr(catalogue, "PUBLISHED", {"VMamba": (other,)})
    assert main(["download", "vmamba_t"]) == 2
    assert "not the file that was published" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["vmamba_tt"], "'vmamba_t'"),
        (["vmamba_t", "--task", "mask_rcnn"], "'mask_rcnn_1x'"),
        (["mobilemamba_t2"], "page to download from by hand"),
    ],
)
def test_wrong_names(argv: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["download", *argv]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
