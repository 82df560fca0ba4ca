"""A local file for a path or URL: downloads are whole or not at all, and cached under torch.hub's folder.

One that breaks off goes on from there at the next try.
"""

import hashlib
import http.client
import logging
import os
import re
import shutil
import stat
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from ..printable import printable, printable_names
from .errors import CheckpointError
from .partial import Partial
from .published import Published, published_at

logger = logging.getLogger("mmmamba")

TIMEOUT = 30
"""Seconds without an answer or a byte after which a download is given up."""

MOST_BYTES = 16 << 30
"""No checkpoint of a detector is this large; an answer without an end is given up here."""

CHUNK = 1 << 20

Progress = Callable[[int, "int | None"], object]
"""Told after each piece: bytes that are there, and how many the file has if the server says so."""


class _BrokenOff(CheckpointError):
    """The connection failed: what came so far may be gone on with."""


def as_local_file(source: str | os.PathLike, progress: Progress | None = None) -> Path:
    """The path itself, or where the URL's file lies after at most one download.

    Raises:
        CheckpointError: no such file, a kind of URL that is not read here, or a download that failed.
    """
    text = os.fspath(source)
    scheme = urllib.parse.urlsplit(text).scheme.lower() if "://" in text else ""
    if scheme in ("http", "https"):
        return _download(text, progress)
    if scheme == "file":
        text = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    elif scheme:
        raise CheckpointError(
            f"{source}: '{scheme}://' is not read here. Give a path, or an http://, https:// or file:// URL."
        )
    path = Path(text).expanduser()
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError) as error:
        # Nothing there, a link to nothing or to itself, a name that no file has.
        reason = (
            ""
            if isinstance(error, FileNotFoundError)
            else f" ({getattr(error, 'strerror', None) or error})"
        )
        raise CheckpointError(
            f"there is no checkpoint {printable(path.absolute(), 1000)}{reason}. Check the path, or give a URL."
        ) from error
    if kind == stat.S_IFDIR:
        inside = (
            printable_names(sorted(p.name for p in path.glob("*.[ps][tatf]*")), 5)
            or "no checkpoints"
        )
        raise CheckpointError(f"{source} is a folder (it holds {inside}). Give the path of a file.")
    if kind != stat.S_IFREG:
        raise CheckpointError(
            f"{source} is no checkpoint but a pipe, socket or device. Give the path of a file."
        )
    return path


def check_kind(path: Path, source: Any) -> None:
    """Raises CheckpointError if the file is empty or a text, such as the page a site shows in place of a download."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{source} cannot be read: {error.strerror}.") from error
    if not head:
        raise CheckpointError(f"{source} is empty (0 bytes). Download it again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CheckpointError(
            f"{source} is an HTML page, not a checkpoint: the site answered with a page (a login, a virus-scan notice, "
            "an error). Download the file in a browser and give its path."
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{source} is a Git LFS pointer, not the file. Run `git lfs pull` where it came from."
        )
    if text.startswith((b"{", b"[")):
        raise CheckpointError(f"{source} is a JSON text, not a checkpoint: {text[:80]!r}…")


def cached_path(url: str) -> Path:
    """Where the file of a URL lies once downloaded. The URL's digest keeps apart files that share a name."""
    name = (
        re.sub(r"[^\w.-]", "_", Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name)
        or "checkpoint"
    )
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    return Path(torch.hub.get_dir()) / "checkpoints" / "mmmamba" / f"{digest}-{name}"


def _download(url: str, progress: Progress | None) -> Path:
    entry = published_at(url)
    if entry and entry.page:
        raise CheckpointError(
            f"{url} is a page to download from by hand. Fetch the file there and give its path."
        )
    target = cached_path(url)
    if target.is_file():
        logger.info("%s: cached at %s", url, target)
        _verify(target, url, entry)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of several processes that ask for it, one downloads and the others find the file.
    with FileLock(f"{target}.lock"):
        if target.is_file():
            return target
        partial, keep = Partial(target), False
        try:
            _fetch(url, partial, progress)
            check_kind(partial.path, url)
            _verify(partial.path, url, entry)
            os.replace(partial.path, target)
        except (_BrokenOff, KeyboardInterrupt):
            keep = partial.can_go_on
            raise
        finally:
            if not keep:
                partial.drop()
    return target


def _verify(path: Path, url: str, entry: Published | None) -> None:
    if entry is None or entry.sha256 is None:
        return
    if (found := sha256(path)) != entry.sha256:
        raise CheckpointError(
            f"{url} has sha256 {found}, wanted {entry.sha256}: not the file that was published. "
            f"Do not use it; delete {path}, if it is there."
        )


def sha256(path: Path) -> str:
    """A file's digest, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class _StayOnTheWeb(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https back to http."""

    def redirect_request(self, request, answer, code, message, headers, url):
        scheme = urllib.parse.urlsplit(url).scheme
        if scheme not in ("http", "https") or (request.type == "https" and scheme == "http"):
            raise CheckpointError(
                f"{request.full_url}: the server sends us on to {url}, which is not followed. Download it by hand."
            )
        return super().redirect_request(request, answer, code, message, headers, url)


def _fetch(url: str, partial: Partial, progress: Progress | None) -> None:
    asked = partial.headers()
    logger.info("downloading %s%s", url, f", from byte {partial.size:,} on" if asked else "")
    request = urllib.request.Request(url, headers={"User-Agent": "mmmamba", **asked})
    cure = "Check the network and the URL, or download it elsewhere and give the path."
    try:
        with urllib.request.build_opener(_StayOnTheWeb).open(request, timeout=TIMEOUT) as answer:
            rest = _expected_length(url, answer.headers.get("Content-Length"))
            with partial.open(answer, url) as file:
                expected = None if rest is None else file.tell() + rest
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    if file.tell() > MOST_BYTES:
                        raise CheckpointError(
                            f"{url}: more than {MOST_BYTES:,} bytes came, and no end. No checkpoint."
                        )
                    if progress is not None:
                        progress(file.tell(), expected)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # Nothing lies behind what is there: it is not the beginning of this file.
            partial.drop()
        raise _BrokenOff(
            f"{url}: the server answered {error.code} {error.reason}. {cure}"
        ) from error
    except (
        urllib.error.URLError,
        TimeoutError,
        ConnectionError,
        http.client.HTTPException,
        ValueError,
    ) as error:
        raise _BrokenOff(f"{url}: the download failed ({error}). {_kept(partial)}{cure}") from error
    except OSError as error:
        raise CheckpointError(
            f"{url} cannot be stored in {cached_path(url).parent}: {error}."
        ) from error
    if expected is not None and partial.size != expected:
        raise _BrokenOff(
            f"{url}: the download ended after {partial.size:,} of {expected:,} bytes. {_kept(partial)}Try again."
        )


def _kept(partial: Partial) -> str:
    return (
        f"{partial.size:,} bytes are kept, and the next try goes on from there. "
        if partial.can_go_on
        else ""
    )


def _expected_length(url: str, said: str | None) -> int | None:
    """What the server says it will send, if it can be, and there is room for it."""
    if said is None:
        return None
    if not said.isdecimal():
        raise CheckpointError(
            f"{url}: the server says that the file has {said[:40]!r} bytes. No checkpoint."
        )
    if int(said) > MOST_BYTES:
        raise CheckpointError(
            f"{url}: the server says {int(said):,} bytes, wanted at most {MOST_BYTES:,}."
        )
    if int(said) > (free := shutil.disk_usage(cached_path(url).parent).free):
        raise CheckpointError(
            f"{url} has {int(said):,} bytes, and there are {free:,} free on the disk. Make room."
        )
    return int(said)
