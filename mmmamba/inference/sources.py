"""From what a user names (files, folders, globs, videos, cameras, addresses) to images."""

from __future__ import annotations

import glob
import http.client
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from email.message import Message
from itertools import islice
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from ..errors import UsageError
from ..suggest import did_you_mean
from .videos import file_frames, live_frames, opened

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}
STREAMS = {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt"}
"""Schemes of addresses that send without end."""
PLAYLISTS = {".m3u8", ".mjpg", ".mjpeg", ".sdp"}
"""Endings of such addresses under http."""
TIMEOUT = 30
"""Seconds without an answer or a byte after which a download is given up."""
LARGEST = 512 * 2**20
"""Bytes that are downloaded of one address at most."""
CHUNK = 1 << 20
"""Bytes that are read at a time."""
UNNAMED = ("application/octet-stream", "binary/octet-stream", "")
"""What servers that do not look into their files call them."""
NO_DOWNLOAD = (
    urllib.error.URLError,
    TimeoutError,
    ConnectionError,
    http.client.HTTPException,
    ValueError,
)
"""What a download may end with."""


class UnreadableImage(Exception):
    """What should be an image or a video cannot be read as one; the message says why."""


@dataclass(frozen=True)
class Source:
    """One image or video.

    Attributes:
        place: path or URL, or the number of a camera.
        name: of a path, what comes below the folder that all inputs share, with `/`.
        stem: where results go, below their folder and without an ending; no two sources have the
            same.
        video: whether it is a video, a camera or a stream.
        live: whether it is one of the last two, which have no end.
        second: path or URL of the second image of a pair.
    """

    place: str
    name: str
    stem: str
    video: bool
    live: bool = False
    second: str | None = None

    @property
    def files(self) -> str | tuple[str, str]:
        """Its place, or the two of a pair."""
        return self.place if self.second is None else (self.place, self.second)


@dataclass(frozen=True)
class Frame:
    """An image (H, W, 3) of a source; a video's has a number, from 0, and a time in seconds."""

    source: Source
    image: np.ndarray
    number: int | None = None
    seconds: float | None = None
    rate: float | None = None
    """Frames a second that are kept of the video."""


def find_sources(inputs: Sequence[str | Path | int]) -> list[Source]:
    """All images, videos and cameras that the inputs name, each once.

    A folder names all images below it but what is hidden, a number a camera.

    Raises:
        UsageError: an input names nothing.
    """
    places: dict[str, None] = {}
    for given in map(str, inputs):
        found = [given] if _is_no_file(given) else map(os.path.abspath, _files(given))
        # A dict keeps the order, in which results are written, and each place once.
        places.update(dict.fromkeys(found))
    # Names are relative to the deepest folder that holds all files.
    local = [os.path.dirname(place) for place in places if not _is_no_file(place)]
    shared = os.path.commonpath(local) if local else ""
    taken: set[str] = set()
    sources = []
    for place in places:
        name, file = _called(place, shared)
        stem, ending = os.path.splitext(file)
        stem = _free(stem, taken)
        taken.add(stem)
        live = is_live(place)
        sources.append(Source(place, name, stem, live or ending.lower() in VIDEOS, live))
    return sources


def is_live(place: str) -> bool:
    """Whether it is a camera or a stream."""
    if not is_url(place):
        return _is_camera(place)
    url = urllib.parse.urlsplit(place)
    return url.scheme.lower() in STREAMS or _ending(url.path) in PLAYLISTS


def _is_camera(place: str) -> bool:
    """A file of that name comes first."""
    path = Path(place)
    if place.isdecimal():
        return not path.exists()
    return path.name.startswith("video") and path.is_char_device()


def _is_no_file(place: str) -> bool:
    return is_url(place) or _is_camera(place)


def _called(place: str, shared: str) -> tuple[str, str]:
    """The name of a source, and that of the files of its results with an ending."""
    if is_url(place):
        # Addresses of cameras have passwords in them, which are for no list of results.
        url = urllib.parse.urlsplit(place)
        plain = url._replace(netloc=url.netloc.rpartition("@")[2])
        return plain.geturl(), _url_name(place)
    if _is_camera(place):
        return f"camera {place}", f"camera_{Path(place).name}"
    name = Path(os.path.relpath(place, shared)).as_posix()
    return name, name


def read_frames(
    source: Source,
    read: Callable[[str | tuple[str, str]], np.ndarray],
    every: int = 1,
    most: int | None = None,
) -> Iterator[Frame]:
    """The image of a source, or every so many frames of its video.

    A camera or a stream gives the newest frame each time.

    Args:
        read: from a path or URL, or the two of a pair, to an image.
        most: frames of a video after which it is left.

    Raises:
        UnreadableImage: there is none in it.
    """
    if not source.video:
        yield Frame(source, read(source.files))
        return
    # Each a context of its own: a stream is read from where it is.
    with nullcontext(source.place) if source.live else local_file(source.place) as file:
        found = live_frames(str(file), every) if source.live else file_frames(file, every)
        number = None
        with closing(found):
            for picture in islice(found, most):
                number = picture.number
                yield Frame(source, picture.image, number, picture.seconds, picture.rate / every)
    if number is None and source.live:
        raise UnreadableImage(
            f"{source.name}: OpenCV opened no camera or stream there, or it sent nothing. Is it "
            "there, is it free, may this user read it?"
        )
    if number is None:
        raise UnreadableImage(f"{source.place}: no video of a known format, or damaged")


def count_frames(source: Source, every: int = 1, most: int | None = None) -> int | None:
    """How many images are in a source, as far as can be told without reading it.

    None where it has no end.
    """
    if source.live:
        return most
    if not source.video or is_url(source.place):
        return 1
    with opened(source.place) as video:
        count = max(-(-int(video.get(cv2.CAP_PROP_FRAME_COUNT)) // every), 1)
        return count if most is None else min(count, most)


def is_url(place: str) -> bool:
    return "://" in place


@contextmanager
def local_file(place: str) -> Iterator[Path]:
    """The path itself, or a download that lasts as long as the context.

    Raises:
        UnreadableImage: no such file, or it could not be downloaded.
    """
    if not is_url(place):
        if not Path(place).is_file():
            raise UnreadableImage(f"{place}: there is no such file")
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="mmmamba-") as folder:
        path = Path(folder) / Path(_url_name(place)).name
        _download(place, path)
        yield path


def _files(given: str) -> list[str]:
    """Paths that an input names, sorted."""
    path = Path(given).expanduser()
    if path.is_dir():
        return _images_below(path)
    if path.is_file():
        return [str(path)]
    if glob.has_magic(given):
        return _matching(given, str(path))
    # A slip of the pen is likely close to what lies in the same folder.
    near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UsageError(
        f"there is no {given}, seen from {Path.cwd()}.{did_you_mean(str(path), near, 3)}"
    )


def _images_below(root: Path) -> list[str]:
    """Images in a folder and those below it; hidden files and folders are left out."""
    found = []
    for folder, folders, names in os.walk(root):
        # What is changed in place is what `os.walk` goes down to.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and _ending(name) in IMAGES:
                found.append(os.path.join(folder, name))
    if not found:
        raise UsageError(
            f"there are no images in {root} or below it; known are {' '.join(sorted(IMAGES))}"
        )
    return found


def _matching(given: str, pattern: str) -> list[str]:
    """Images and videos that a glob names."""
    found = [file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file)]
    files = sorted(file for file in found if _ending(file) in IMAGES | VIDEOS)
    if not files:
        other = f"; {len(found)} other files do" if found else ""
        raise UsageError(f"no image or video matches {given}, seen from {Path.cwd()}{other}")
    return files


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _free(stem: str, taken: set[str]) -> str:
    """The stem, with a number where results of another source would go to the same place."""
    free, number = stem, 1
    while free in taken:
        number += 1
        free = f"{stem}_{number}"
    return free


def _url_name(url: str) -> str:
    """The last part of an address's path as the name of a file."""
    last = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    # The address is foreign: no separators or odd characters get into a path.
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in last)
    return plain.lstrip(".") or "download"


def _download(url: str, path: Path) -> None:
    """Write what lies at an address to a file.

    Raises:
        UnreadableImage: it cannot be had, is no image or video, or is not whole.
    """
    scheme = urllib.parse.urlsplit(url).scheme.lower()
    if scheme not in ("http", "https"):
        raise UnreadableImage(
            f"{url}: '{scheme}://' is not read here. Give a path, or an http:// or https:// address"
        )
    request = urllib.request.Request(url, headers={"User-Agent": "mmmamba"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            _check_kind(url, answer.headers)
            size = _copy(url, answer, path)
            _check_size(url, answer.headers, size)
    except urllib.error.HTTPError as error:
        raise UnreadableImage(f"{url}: the server answered {error.code} {error.reason}") from error
    except NO_DOWNLOAD as error:
        raise UnreadableImage(f"{url}: the download failed ({error})") from error


def _check_kind(url: str, headers: Message) -> None:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not kind.startswith(("image/", "video/")) and kind not in UNNAMED:
        raise UnreadableImage(f"{url}: the server sent {kind}, not an image or a video")


def _copy(url: str, answer: IO[bytes], path: Path) -> int:
    """Write the answer to a file. Returns how many bytes it has."""
    with path.open("wb") as file:
        # In pieces, so that a size that is not announced cannot fill disk or memory.
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            if file.tell() > LARGEST:
                raise UnreadableImage(
                    f"{url}: larger than {LARGEST >> 20} MiB. Download it and give its path"
                )
        return file.tell()


def _check_size(url: str, headers: Message, size: int) -> None:
    """Python takes an answer that ends too early for a whole one."""
    expected = headers.get("Content-Length")
    if expected is not None and size != int(expected):
        raise UnreadableImage(
            f"{url}: the download ended after {size:,} of {int(expected):,} bytes"
        )
