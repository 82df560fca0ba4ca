"""The blocks of docs/command_line.md run, and it names every command."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from mmmamba.checkpoints import list_published
from mmmamba.commands import COMMANDS, main

from .blocks import ROOT, arguments, run_page

PAGE = (ROOT / "docs/command_line.md").read_text()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def published_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of published weights leads to a server on this machine."""
    torch.save({"w": torch.ones(3)}, tmp_path / "weights.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/weights.pth"
    entries = tuple(replace(entry, url=url) for entry in list_published())
    monkeypatch.setattr("mmmamba.checkpoints.catalogue.PUBLISHED", {"all": entries})
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_page(published_here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("docs/command_line.md", special={"--beside": beside_peers}, parsed=("mmmamba train",))


def beside_peers(line: str) -> None:
    """At a size of seconds, and where timm is installed."""
    pytest.importorskip("timm")
    assert main([*arguments(line.replace("--size 224", "--size 64")), "--seconds", "0.01"]) == 0


def test_every_command_is_there() -> None:
    table = PAGE.split("## train")[0]
    for command in COMMANDS:
        assert f"`{command}`" in table
        assert f"## {command}\n" in PAGE or re.search(rf"\[`{command}`\]\(\w+\.md\)", table)
