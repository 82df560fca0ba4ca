"""A config as MMEngine prints it, read as text: a checkpoint holds one, and nothing that a file
says is run.

Python's own parser is left alone as well: nested expressions can end the process there.
"""

from __future__ import annotations

import io
import tokenize
from typing import Any

LONGEST = 400_000
"""Characters, which take two seconds; configs have ten thousand."""
DEEPEST = 60
CLOSING = {"(": ")", "[": "]", "{": "}"}
LAYOUT = {tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
Tree = dict[str, Any] | list[Any] | str
"""A value is the text that Python would show for it."""


def read_text(text: str) -> dict[str, Tree]:
    """The settings of a printed config by name.

    Raises:
        ValueError: it is not printed by MMEngine.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text):,} characters")
    try:
        tokens = [
            t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in LAYOUT
        ]
    except (tokenize.TokenError, SyntaxError) as error:
        raise ValueError(str(error)) from error
    return _Reader(tokens).settings()


class _Reader:
    def __init__(self, tokens: list[tokenize.TokenInfo]) -> None:
        self.tokens, self.at = tokens, 0

    def settings(self) -> dict[str, Tree]:
        found = {}
        while self.tokens[self.at].type != tokenize.ENDMARKER:
            name = self._next()
            self._want("=")
            found[name] = self._value(0)
            if self.tokens[self.at].type not in (tokenize.NEWLINE, tokenize.ENDMARKER):
                raise ValueError(f"line {self.tokens[self.at].start[0]} goes on behind a value")
            self.at += self.tokens[self.at].type == tokenize.NEWLINE
        return found

    def _value(self, depth: int) -> Tree:
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels")
        first = self._peek()
        if first == "dict" and self.tokens[self.at + 1].string == "(":
            self.at += 1
            if self.tokens[self.at + 1].string != "{":
                return self._mapping("=", depth)
            # With keys that are no names it is dict({...}).
            self.at += 1
            inner = self._mapping(":", depth)
            self._want(")")
            return inner
        if first == "{":
            return self._mapping(":", depth)
        if first in ("[", "("):
            return self._entries(depth)
        return self._leaf()

    def _mapping(self, between: str, depth: int) -> dict[str, Tree]:
        close, found = CLOSING[self._next()], {}
        while self._peek() != close:
            key = self._next()
            # Keys that are no names are printed as texts.
            key = key[1:-1] if key[:1] in "'\"" else key
            self._want(between)
            found[key] = self._value(depth + 1)
            if self._peek() != close:
                self._want(",")
        self.at += 1
        return found

    def _entries(self, depth: int) -> list[Tree]:
        close, found = CLOSING[self._next()], []
        while self._peek() != close:
            found.append(self._value(depth + 1))
            if self._peek() != close:
                self._want(",")
        self.at += 1
        return found

    def _leaf(self) -> str:
        parts = []
        while self._peek() not in (",", ")", "]", "}") and self.tokens[self.at].type not in (
            tokenize.NEWLINE,
            tokenize.ENDMARKER,
        ):
            parts.append(self._next())
        if not parts:
            raise ValueError(f"line {self.tokens[self.at].start[0]} has no value")
        return "".join(parts)

    def _peek(self) -> str:
        return self.tokens[self.at].string

    def _next(self) -> str:
        if self.tokens[self.at].type == tokenize.ENDMARKER:
            raise ValueError("it ends early")
        self.at += 1
        return self.tokens[self.at - 1].string

    def _want(self, wanted: str) -> None:
        found = self._next()
        if found != wanted:
            raise ValueError(f"{found!r} in the place of {wanted!r}")
