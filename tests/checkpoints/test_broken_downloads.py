"""A download that breaks off goes on from there, unless the server cannot or the file has changed."""

import random
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from mmmamba.checkpoints import CheckpointError, list_published
from mmmamba.checkpoints.download import as_local_file, cached_path, sha256
from mmmamba.commands import main

# Of a kind that is not refused at its first byte, as some that are drawn anew would be.
CONTENT = b"PK\x03\x04" + random.Random(0).randbytes(300_000 - 4)


class Server(BaseHTTPRequestHandler):
    """Drops the connection in the middle of the first answer, then does what `kind` says."""

    def do_GET(self):
        state = self.server
        state.ranges.append(self.headers.get("Range"))
        content, etag, start, status = CONTENT, '"one"', 0, 200
        first = len(state.ranges) == 1
        if state.kind == "changed" and not first:
            content, etag = CONTENT[::-1], '"two"'
        if state.kind == "page" and not first:
            content, etag = b"<!DOCTYPE html><title>log in</title>", None
        asked = self.headers.get("Range")
        if asked and state.kind != "ignores" and self.headers.get("If-Range") == etag:
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
        if state.kind == "elsewhere" and not first:
            start, status = 5, 206
        if state.kind == "behind" and not first:
            self.send_error(416)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) - start))
        if state.kind != "nameless" and etag:
            self.send_header("ETag", f"W/{etag}" if state.kind == "weak" else etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start : 100_000 if first else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.ranges, server.kind = [], "good"
    server.url = f"http://127.0.0.1:{server.server_port}/file.pth"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def kept(server):
    return sorted(
        p.name.partition("file.pth")[2]
        for p in cached_path(server.url).parent.iterdir()
        if p.suffix != ".lock"
    )


def break_off(server, message="100,000 bytes are kept, and the next try goes on from there"):
    with pytest.raises(CheckpointError, match=f"ended after 100,000 of 300,000 bytes. {message}"):
        as_local_file(server.url)


def test_it_goes_on_where_it_broke_off(server):
    break_off(server)
    assert kept(server) == [".part", ".part-version"]
    told = []
    path = as_local_file(server.url, lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]
    assert told[-1] == (300_000, 300_000) and told[0][0] > 100_000
    assert kept(server) == [""]


@pytest.mark.parametrize(("kind", "content"), [("ignores", CONTENT), ("changed", CONTENT[::-1])])
def test_a_server_that_sends_all_again_starts_anew(server, kind, content):
    server.kind = kind
    break_off(server)
    assert as_local_file(server.url).read_bytes() == content
    assert server.ranges[1] == "bytes=100000-"


@pytest.mark.parametrize("kind", ["nameless", "weak"])
def test_nothing_is_kept_of_a_file_without_a_version(server, kind):
    server.kind = kind
    break_off(server, "Try again")
    assert kept(server) == []
    assert as_local_file(server.url).read_bytes() == CONTENT
    assert server.ranges == [None, None]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("page", "is an HTML page"),
        ("elsewhere", "asked for bytes 100,000-, the server sends 'bytes 5-"),
        ("behind", "the server answered 416"),
    ],
)
def test_an_answer_that_does_not_fit_is_forgotten(server, kind, message):
    server.kind = kind
    break_off(server)
    with pytest.raises(CheckpointError, match=message):
        as_local_file(server.url)
    assert kept(server) == []
    server.kind = "good"
    assert as_local_file(server.url).read_bytes() == CONTENT


def test_without_a_network_what_there_is_stays(server, monkeypatch):
    break_off(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match="100,000 bytes are kept"):
        as_local_file(server.url)
    assert kept(server) == [".part", ".part-version"]


def test_the_command(server, monkeypatch, capsys):
    digest = "0" * 64
    known = replace(
        list_published("vmamba_t")[0], url=server.url, licence="MIT [really]", note="a note"
    )
    monkeypatch.setattr("mmmamba.checkpoints.published_table.PUBLISHED", (known,))
    assert main(["download", "vmamba_t"]) == 2
    printed = capsys.readouterr()
    assert "licence: MIT [really]" in printed.out and "note: a note" in printed.out
    assert (
        printed.err.strip().splitlines()[-1].startswith("error: ")
        and "goes on from there" in printed.err
    )

    assert main(["download", "vmamba_t"]) == 0
    path = cached_path(server.url)
    printed = capsys.readouterr().out
    assert (
        f"file: {path} (300,000 bytes)" in printed
        and f"sha256: {sha256(path)} (none is published" in printed
    )
    assert main(["download", "vmamba_t"]) == 0
    assert "was there already" in capsys.readouterr().out and len(server.ranges) == 2

    monkeypatch.setattr(
        "mmmamba.checkpoints.published_table.PUBLISHED", (replace(known, sha256=digest),)
    )
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
def test_wrong_names(argv, message, capsys):
    assert main(["download", *argv]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
