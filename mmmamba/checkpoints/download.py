"""A local file for a path or URL: downloads are whole or not at all, and cached under torch.hub's folder."""

import hashlib
import http.client
import logging
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

import torch
from filelock import FileLock

from .errors import CheckpointError
from .published import Published, published_at

logger = logging.getLogger("mmmamba")

TIMEOUT = 30
"""Seconds without an answer or a byte after which a download is given up."""


def as_local_file(source: str | os.PathLike) -> Path:
    """The path itself, or where the URL's file lies after at most one download.

    Raises:
        CheckpointError: no such file, a kind of URL that is not read here, or a download that failed.
    """
    text = os.fspath(source)
    scheme = urllib.parse.urlsplit(text).scheme.lower() if "://" in text else ""
    if scheme in ("http", "https"):
        return _download(text)
    if scheme == "file":
        text = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    elif scheme:
        raise CheckpointError(
            f"{source}: '{scheme}://' is not read here. Give a path, or an http://, https:// or file:// URL."
        )
    path = Path(text).expanduser()
    if path.is_dir():
        inside = ", ".join(sorted(p.name for p in path.glob("*.[ps][tatf]*"))[:5]) or "no checkpoints"
        raise CheckpointError(f"{source} is a folder (it holds {inside}). Give the path of a file.")
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path.absolute()}. Check the path, or give a URL.")
    return path


def check_kind(path: Path, source: Any) -> None:
    """Raises CheckpointError if the file is empty or a text, such as the page a site shows in place of a download."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise CheckpointError(f"{source} is empty (0 bytes). Download it again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CheckpointError(
            f"{source} is an HTML page, not a checkpoint: the site answered with a page (a login, a virus-scan notice, "
            "an error). Download the file in a browser and give its path."
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{source} is a Git LFS pointer, not the file. Run `git lfs pull` where it came from.")
    if text.startswith((b"{", b"[")):
        raise CheckpointError(f"{source} is a JSON text, not a checkpoint: {text[:80]!r}…")


def cached_path(url: str) -> Path:
    """Where the file of a URL lies once downloaded. The URL's digest keeps apart files that share a name."""
    name = re.sub(r"[^\w.-]", "_", Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name) or "checkpoint"
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    return Path(torch.hub.get_dir()) / "checkpoints" / "mmmamba" / f"{digest}-{name}"


def _download(url: str) -> Path:
    entry = published_at(url)
    if entry and entry.page:
        raise CheckpointError(f"{url} is a page to download from by hand. Fetch the file there and give its path.")
    target = cached_path(url)
    if target.is_file():
        logger.info("%s: cached at %s", url, target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of several processes that ask for it, one downloads and the others find the file.
    with FileLock(f"{target}.lock"):
        if target.is_file():
            return target
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix="partial-")
        try:
            with os.fdopen(handle, "wb") as file:
                _fetch(url, file)
            check_kind(Path(partial), url)
            _verify(Path(partial), url, entry)
            os.replace(partial, target)
        finally:
            Path(partial).unlink(missing_ok=True)
    return target


def _verify(path: Path, url: str, entry: Published | None) -> None:
    if entry is None or entry.sha256 is None:
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != entry.sha256:
        raise CheckpointError(
            f"{url} has sha256 {digest.hexdigest()}, wanted {entry.sha256}: not the file that was published. "
            "Do not use it."
        )


def _fetch(url: str, file: BinaryIO) -> None:
    logger.info("downloading %s", url)
    request = urllib.request.Request(url, headers={"User-Agent": "mmmamba"})
    cure = "Check the network and the URL, or download it elsewhere and give the path."
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            expected = answer.headers.get("Content-Length")
            shutil.copyfileobj(answer, file, 1 << 20)
    except urllib.error.HTTPError as error:
        raise CheckpointError(f"{url}: the server answered {error.code} {error.reason}. {cure}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise CheckpointError(f"{url}: the download failed ({error}). {cure}") from error
    if expected is not None and file.tell() != int(expected):
        raise CheckpointError(f"{url}: the download ended after {file.tell():,} of {int(expected):,} bytes. Try again.")
