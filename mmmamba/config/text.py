"""A config as MMEngine prints it, read as text.

A checkpoint holds one, and nothing that a file says is run.

Python's own parser is left alone as well: nested expressions can end the process there. What is
read here is the little that MMEngine prints:

    settings = (name "=" value)*
    value    = "dict(" name "=" value, … ")"  |  "dict({" key ":" value, … "})"
             | "{" key ":" value, … "}"  |  "[" value, … "]"  |  "(" value, … ")"
             | anything else up to the next comma, bracket or end of the line
"""

from __future__ import annotations

import io
import tokenize
from typing import Any

LONGEST = 400_000
"""Characters, which take two seconds; configs have ten thousand."""
DEEPEST = 60
"""Levels of dictionaries and lists; Python's recursion reaches hundreds."""
CLOSING = {"(": ")", "[": "]", "{": "}"}
# Line breaks within brackets are layout (NL); only those that end a setting are left (NEWLINE).
LAYOUT = {tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
LINE_ENDS = (tokenize.NEWLINE, tokenize.ENDMARKER)
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
        tokens = [*tokenize.generate_tokens(io.StringIO(text).readline)]
    except (tokenize.TokenError, SyntaxError) as error:
        raise ValueError(str(error)) from error
    return _Reader([token for token in tokens if token.type not in LAYOUT]).settings()


class _Reader:
    """Goes over tokens once, from left to right. Each method takes what it is named after."""

    def __init__(self, tokens: list[tokenize.TokenInfo]) -> None:
        # The last one is an ENDMARKER, behind which nothing is looked for.
        self.tokens, self.at = tokens, 0

    def settings(self) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        while self._token.type != tokenize.ENDMARKER:
            name = self._take()
            self._expect("=")
            found[name] = self._value(depth=0)
            if self._token.type not in LINE_ENDS:
                raise ValueError(f"line {self._token.start[0]} goes on behind a value")
            if self._token.type == tokenize.NEWLINE:
                self._take()
        return found

    def _value(self, depth: int) -> Tree:
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels")
        first = self._token.string
        if first == "dict" and self._after(1) == "(":
            self._take()
            # Where a key is no name, MMEngine prints dict({...}).
            return self._wrapped(depth) if self._after(1) == "{" else self._mapping("=", depth)
        if first == "{":
            return self._mapping(":", depth)
        if first in ("[", "("):
            return self._entries(depth)
        return self._leaf()

    def _wrapped(self, depth: int) -> dict[str, Tree]:
        """A dictionary in round brackets."""
        self._expect("(")
        found = self._mapping(":", depth)
        self._expect(")")
        return found

    def _mapping(self, between: str, depth: int) -> dict[str, Tree]:
        """Keys and values in brackets, with a sign between them."""
        close = CLOSING[self._take()]
        found: dict[str, Tree] = {}
        while self._token.string != close:
            key = self._take()
            # One key of a dictionary that is no name makes MMEngine quote them all: quotes are
            # taken off, so that this alone is no change.
            if key[:1] in ("'", '"'):
                key = key[1:-1]
            self._expect(between)
            found[key] = self._value(depth + 1)
            self._comma_or(close)
        self._take()
        return found

    def _entries(self, depth: int) -> list[Tree]:
        close = CLOSING[self._take()]
        found = []
        while self._token.string != close:
            found.append(self._value(depth + 1))
            self._comma_or(close)
        self._take()
        return found

    def _leaf(self) -> str:
        """Numbers, texts, names and whatever else has a line to itself."""
        # Blanks between tokens are lost, which is the same for both texts that are compared.
        parts = []
        while self._token.type not in LINE_ENDS and self._token.string not in (",", ")", "]", "}"):
            parts.append(self._take())
        if not parts:
            raise ValueError(f"line {self._token.start[0]} has no value")
        return "".join(parts)

    @property
    def _token(self) -> tokenize.TokenInfo:
        """The one that is next."""
        return self.tokens[self.at]

    def _after(self, steps: int) -> str:
        """The text of a token behind the next one."""
        return self.tokens[min(self.at + steps, len(self.tokens) - 1)].string

    def _take(self) -> str:
        if self._token.type == tokenize.ENDMARKER:
            raise ValueError("it ends early")
        self.at += 1
        return self.tokens[self.at - 1].string

    def _expect(self, wanted: str) -> None:
        found = self._take()
        if found != wanted:
            raise ValueError(f"{found!r} in the place of {wanted!r}")

    def _comma_or(self, close: str) -> None:
        if self._token.string != close:
            self._expect(",")
