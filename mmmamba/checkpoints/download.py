"""A local file for a path or URL; downloads are whole or not at all, cached in torch.hub's folder.

`torch.hub.download_url_to_file` takes an answer that ends early for the whole file where no
checksum is known, and waits for a silent server without end. Hence the few lines of `_fetch`.
"""

import hashlib
import http.client
import logging
import os
import re
import shutil
import stat
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import wrap_file

from ..printable import printable, printable_names
from .catalogue import published_at
from .errors import CheckpointError

logger = logging.getLogger("mmmamba")

TIMEOUT = 30
"""Seconds without an answer or a byte after which a download is given up."""

CURE = "Check the network and the URL, or download it elsewhere and give the path."


def as_local_file(source: str | os.PathLike) -> Path:
    """The path itself, or where the URL's file lies after at most one download.

    Raises:
        CheckpointError: no such file, a kind of URL that is not read, or a download that failed.
    """
    text = os.fspath(source)
    # "://", not a colon: that of "C:\file.pth" would make a scheme of the drive's letter.
    scheme = urllib.parse.urlsplit(text).scheme.lower() if "://" in text else ""
    if scheme in ("http", "https"):
        return _download(text)
    if scheme == "file":
        text = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    elif scheme:
        raise CheckpointError(
            f"{source}: '{scheme}://' is not read here. "
            "Give a path, or an http://, https:// or file:// URL."
        )
    path = Path(text).expanduser()
    # Before anything opens it: a pipe without a writer would be waited for without end.
    _check_regular(path, source)
    return path


def _check_regular(path: Path, source: Any) -> None:
    """Raises CheckpointError unless there is a regular file."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError as error:
        raise _nothing_there(path, "") from error
    except (OSError, ValueError) as error:
        # A link to itself, a name that no file can have.
        reason = getattr(error, "strerror", None) or error
        raise _nothing_there(path, f" ({reason})") from error
    if kind == stat.S_IFDIR:
        # What may be checkpoints: .pt, .pth, .safetensors.
        names = sorted(p.name for p in path.glob("*.[ps][tatf]*"))
        inside = printable_names(names, 5) or "no checkpoints"
        raise CheckpointError(f"{source} is a folder (it holds {inside}). Give the path of a file.")
    if kind != stat.S_IFREG:
        raise CheckpointError(
            f"{source} is no checkpoint but a pipe, socket or device. Give the path of a file."
        )


def _nothing_there(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"there is no checkpoint {printable(path.absolute(), 1000)}{reason}. "
        "Check the path, or give a URL."
    )


def check_kind(path: Path, source: Any) -> None:
    """Refuse an empty file and a text, such as the page a site shows in place of a download.

    Raises:
        CheckpointError: it is such a file, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{source} cannot be read: {error.strerror}.") from error
    if not head:
        raise CheckpointError(f"{source} is empty (0 bytes). Download it again.")
    # A byte order mark and blanks may stand before a page's first tag.
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CheckpointError(
            f"{source} is an HTML page, not a checkpoint: the site answered with a page (a login, "
            "a virus-scan notice, an error). Download the file in a browser and give its path."
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{source} is a Git LFS pointer, not the file. Run `git lfs pull` where it came from."
        )
    # The length at the head of a safetensors file may look like a blank and a brace; it ends in
    # zeros, which no text has.
    if text.startswith((b"{", b"[")) and b"\0" not in head[:8]:
        raise CheckpointError(f"{source} is a JSON text, not a checkpoint: {text[:80]!r}…")


def cached_path(url: str) -> Path:
    """Where the file of a URL lies once downloaded.

    The URL's digest keeps apart files that share a name, as several authors' do.
    """
    last = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    name = re.sub(r"[^\w.-]", "_", last) or "checkpoint"
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    return Path(torch.hub.get_dir()) / "checkpoints" / "mmmamba" / f"{digest}-{name}"


def sha256(path: Path) -> str:
    """A file's digest, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _download(url: str) -> Path:
    entry = published_at(url)
    if entry and entry.page:
        raise CheckpointError(
            f"{url} is a page to download from by hand. Fetch the file there and give its path."
        )
    wanted = entry.sha256 if entry else None
    target = cached_path(url)
    # Without the lock: a file appears there in one step and whole (`_fetch_whole`).
    if target.is_file():
        logger.info("%s: cached at %s", url, target)
        # Compared each time: a disk, or another program, may have changed it since.
        _check_digest(target, url, wanted)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # When several processes ask for it, one downloads and the others find the file.
    with FileLock(f"{target}.lock"):
        # Who waited for the lock may find the file that its holder fetched.
        if not target.is_file():
            _fetch_whole(url, target, wanted)
    return target


def _fetch_whole(url: str, target: Path, wanted: str | None) -> None:
    """Download to a place beside the target, look at it, and move it there."""
    # In the same folder, so that the move is one step.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fetched = Path(folder) / target.name
        _fetch(url, fetched)
        check_kind(fetched, url)
        _check_digest(fetched, url, wanted)
        os.replace(fetched, target)


def _check_digest(path: Path, url: str, wanted: str | None) -> None:
    if wanted is not None and (found := sha256(path)) != wanted:
        raise CheckpointError(
            f"{url} has sha256 {found}, wanted {wanted}: not the file that was published. "
            f"Do not use it; delete {path}, if it is there."
        )


class _StayOnTheWeb(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https back to http."""

    def redirect_request(self, request, answer, code, message, headers, url):
        # urllib's own handler would go on to ftp, and from https to http.
        scheme = urllib.parse.urlsplit(url).scheme
        if scheme not in ("http", "https") or (request.type == "https" and scheme == "http"):
            raise CheckpointError(
                f"{request.full_url}: the server sends us on to {url}, which is not followed. "
                "Download it by hand."
            )
        return super().redirect_request(request, answer, code, message, headers, url)


def _fetch(url: str, path: Path) -> None:
    """Write what the server sends to a file.

    Raises:
        CheckpointError: no answer, none but an error, one that ends early, or no room for it.
    """
    logger.info("downloading %s", url)
    request = urllib.request.Request(url, headers={"User-Agent": "mmmamba"})
    opener = urllib.request.build_opener(_StayOnTheWeb)
    try:
        with opener.open(request, timeout=TIMEOUT) as answer, path.open("wb") as file:
            _copy(answer, file)
            said = answer.headers.get("Content-Length")
    # All errors of the network are OSErrors, too. They come first; the rest are of the disk.
    except urllib.error.HTTPError as error:
        raise CheckpointError(
            f"{url}: the server answered {error.code} {error.reason}. {CURE}"
        ) from error
    except (
        urllib.error.URLError,
        TimeoutError,
        ConnectionError,
        http.client.HTTPException,
        ValueError,
    ) as error:
        raise CheckpointError(f"{url}: the download failed ({error}). {CURE}") from error
    # The file lies in a temporary folder of the cache, which is gone when this is read.
    except OSError as error:
        raise CheckpointError(
            f"{url} cannot be stored in {path.parent.parent}: {error}."
        ) from error
    # `read` with a number of bytes does not complain where the connection ends early.
    came = path.stat().st_size
    if said is not None and said != str(came):
        raise CheckpointError(
            f"{url}: the download ended after {came:,} of {said} bytes. Try again."
        )


def _copy(answer: http.client.HTTPResponse, file: Any) -> None:
    """Copy an answer into a file, with a bar on the error stream where that is a terminal."""
    console = Console(stderr=True)
    bar = wrap_file(
        answer,
        answer.length or 0,
        description="downloading",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar as watched:
        shutil.copyfileobj(watched, file, 1 << 20)
