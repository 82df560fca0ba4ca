"""What a file is that should be a model and is none, told by how it begins."""

from __future__ import annotations

import zipfile
from pathlib import Path

LFS = b"version https://git-lfs"
PICKLE = b"\x80\x02"
PROGRAMS = ("models/model.json", "serialized_exported_program.json")
"""What `torch.export` calls a program in its archives, by PyTorch's version."""
ONNX = b"\x08"
"""The number of the first field of every ONNX file, which says its version."""


def looks_like(path: Path) -> str:
    """A file in a few words, such as `a web page`."""
    with path.open("rb") as file:
        head = file.read(200)
    text = head.lstrip().lower()
    if not head:
        return "empty: what wrote or copied it was stopped"
    if head.startswith(LFS):
        return "a pointer of Git LFS and not the file itself: git lfs pull"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page: what was downloaded is not the file"
    if head.startswith(b"PK"):
        return _archive(path)
    if head.startswith(PICKLE):
        return "a checkpoint of PyTorch"
    if text.startswith((b"<?xml", b"<net")):
        return "XML"
    if head.startswith(ONNX):
        return "an ONNX file that is cut off or damaged: export or copy it again"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return "plain text"
    return "something else, or is damaged"


def _archive(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return "an archive that is cut off or damaged: export or copy it again"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any("data/aotinductor/" in name for name in names):
        return "a package of AOTInductor (.aoti.pt2)"
    if any(name.endswith(PROGRAMS) for name in names):
        return "a file of torch.export (.pt2)"
    if any(name.endswith("/data.pkl") for name in names):
        return "a checkpoint of PyTorch"
    return "a ZIP archive of something else"
