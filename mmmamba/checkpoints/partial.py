"""The beginning of a file whose download broke off, and how its rest is asked for (RFC 9110, 13.1.5 and 14)."""

from http.client import HTTPResponse
from pathlib import Path
from typing import BinaryIO

from .errors import CheckpointError


class Partial:
    """The beginning of `target`, kept beside it with the version (ETag or date) that the server gave it.

    Only a server that names a version is asked to go on: without one the rest might be that of another file.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._version = target.with_name(f"{target.name}.part-version")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def can_go_on(self) -> bool:
        return self.size > 0 and self._version.is_file()

    def headers(self) -> dict[str, str]:
        """Of a request: asks for the rest if the file is still the same, and for all of it if not."""
        if not self.can_go_on:
            return {}
        return {
            "Range": f"bytes={self.size}-",
            "If-Range": self._version.read_text(encoding="latin-1"),
        }

    def open(self, answer: HTTPResponse, url: str) -> BinaryIO:
        """To write an answer's bytes to: behind those that are there if it brings the rest, else from the start.

        Raises:
            CheckpointError: the answer brings another part than the one that was asked for.
        """
        if answer.status == 206:
            brought = answer.headers.get("Content-Range", "nothing")
            if not brought.startswith(f"bytes {self.size}-"):
                raise CheckpointError(
                    f"{url}: asked for bytes {self.size:,}-, the server sends {brought!r}. Try again."
                )
            return self.path.open("ab")
        self.drop()
        version = answer.headers.get("ETag", "")
        # A weak tag (W/) says that two files mean the same, not that their bytes are.
        version = version if version.startswith('"') else answer.headers.get("Last-Modified", "")
        if version:
            self._version.write_text(version, encoding="latin-1")
        return self.path.open("wb")

    def drop(self) -> None:
        """Forget it."""
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)
