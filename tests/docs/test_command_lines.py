"""Every line of the pages that starts a program of ours is one that the program takes."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys

import pytest
from torch.distributed.run import get_args_parser

from mmmamba.commands import COMMANDS, main
from mmmamba.config.find import find_config
from mmmamba.exporting.files import FORMATS
from mmmamba.models.backbones import list_backbones

from .blocks import PAGES, ROOT, blocks

OURS = re.compile(
    r"(?:\w+=\S+ )*(?:mmmamba(?= |$)|torchrun |python (?:-m mmmamba|tools/|benchmarks/)|make )"
)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


class Parsed(BaseException):
    """The program has taken its arguments."""


def lines() -> dict[str, str]:
    """Command lines of fenced and indented code and of code within sentences, with their places.

    Those with output are run by the tests of their pages.
    """
    found = {}
    for page in PAGES:
        text = (ROOT / page).read_text()
        outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
        fenced = [line for b in blocks(page) if b.language == "bash" for line in b.commands]
        indented = [line.strip() for line in outside.splitlines() if line.startswith("    ")]
        for line in [*fenced, *indented, *SPAN.findall(outside)]:
            for part in line.split(" && "):
                if OURS.match(part) and not part.endswith("…"):
                    found[f"{page}: {part}"] = part
    return found


LINES = lines()
# Within a sentence a command may be named without all it needs.
WHOLE = {
    line
    for page in PAGES
    for block in blocks(page)
    if block.language == "bash"
    for line in block.commands
}


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs stop when they have parsed their arguments, with the parser that they made."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        raise Parsed(parse(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)


def words_of(line: str) -> list[str]:
    """The words of a line, without settings of the environment and redirections."""
    words = shlex.split(re.sub(r" >.*| \|.*", "", line), comments=True)
    while re.match(r"\w+=", words[0]):
        words.pop(0)
    return words


def start(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a program until it has taken its arguments."""
    program, *rest = words
    if program == "torchrun":
        args, unknown = get_args_parser().parse_known_args(rest)
        assert not unknown
        module = ["-m"] if args.module else []
        program, *rest = ["python", *module, args.training_script, *args.training_script_args]
    if program == "make":
        assert set(rest) <= set(TARGETS)
        raise Parsed(argparse.Namespace())
    if program == "python" and rest[0] == "-m":
        program, *rest = rest[1:]
    if program == "mmmamba":
        main(rest)
    else:
        monkeypatch.syspath_prepend((ROOT / rest[0]).parent)
        monkeypatch.setattr(sys, "argv", rest)
        # A script without arguments of its own would start to work, so it has to parse even none.
        assert "parse_args" in (ROOT / rest[0]).read_text() or rest[0].startswith("tools/")
        runpy.run_path(str(ROOT / rest[0]), run_name="__main__")


def is_there(name: str) -> bool:
    """A placeholder, something of the reader's, or what comes with mmmamba."""
    own = (
        name.isupper()
        or name.startswith(("work_dirs/", "my_"))
        or ("/" not in name and name.endswith((".py", ".json", *FORMATS.values())))
    )
    return own or name in list_backbones() or find_config(name).is_file()


@pytest.mark.parametrize("place", LINES)
def test_the_program_takes_it(
    place: str, parse_only, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    line = LINES[place]
    words = words_of(line)
    if words in (["mmmamba"], ["mmmamba", "COMMAND"], ["python", "-m", "mmmamba", "COMMAND"]):
        return
    if words == ["python", "tools/make_model_zoo.py"]:
        assert (ROOT / words[1]).is_file()
        return
    monkeypatch.chdir(ROOT)
    try:
        start(words, monkeypatch)
    except Parsed as parsed:
        (args,) = parsed.args
        named = [
            getattr(args, key)
            for key in ("config", "model")
            if isinstance(getattr(args, key, None), str)
        ]
        assert all(is_there(name) for name in named), f"{line}: there is no {named}"
    except SystemExit as stop:
        said = capsys.readouterr()
        incomplete = line not in WHOLE and "arguments are required" in said.err
        assert stop.code == 0 or incomplete, f"{line}\n{said.err}"


def test_there_are_lines_of_every_command() -> None:
    named = {
        words[1]
        for words in map(words_of, LINES.values())
        if words[0] == "mmmamba" and len(words) > 1
    }
    assert set(COMMANDS) <= named
