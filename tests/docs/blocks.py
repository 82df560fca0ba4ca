"""Code blocks of the pages, at the root and in docs/: found, and run.

`run_page` runs every block of a page in the current folder, or hands it to a function. So a page is
wholly run, or its test fails; `test_pages.py` runs the pages that no other test names.
"""

from __future__ import annotations

import doctest
import io
import re
import shlex
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from mmmamba.commands import main

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
]
PROGRAMS = {
    ("mmmamba",): [],
    ("python", "-m", "mmmamba"): [],
    ("python", "tools/train.py"): ["train"],
    ("python", "tools/test.py"): ["test"],
}
RUN = ("python", "pycon", "bash", "console")
NOT_RUN = ("text",)
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    place: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Lines of a shell, without comments; those that a backslash goes on are joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if shlex.split(line, comments=True)]


def blocks(page: str) -> list[Block]:
    """In the order of the page."""
    text = (ROOT / page).read_text()
    return [
        Block(f"{page}:{text.count(chr(10), 0, found.start()) + 1}", found[1], found[2])
        for found in re.finditer(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    ]


def run_page(
    page: str,
    special: dict[str, Callable[[str], object]] | None = None,
    parsed: tuple[str, ...] = (),
    notebook: bool = False,
) -> None:
    """Run every block of a page.

    Args:
        special: what is called with a Python block, or a line of a shell, that holds the key.
        parsed: parts of lines that need COCO, a GPU, the network or minutes.
            `test_command_lines.py` parses them.
        notebook: each Python block goes on from those before it, as a notebook's cells do.
    """
    special, used, space = special or {}, set(), {}
    for block in blocks(page):
        steps = block.commands if block.language == "bash" else [block.text]
        for step in steps if block.language in RUN else ():
            key = next(
                (
                    key
                    for key in [*special, *(parsed if block.language == "bash" else ())]
                    if key in step
                ),
                None,
            )
            if key is None:
                run(step, block, space if notebook or block.language == "pycon" else {})
            else:
                used.add(key)
                special.get(key, str)(step)
    assert used == {*special, *parsed}, f"{page} no longer has {({*special, *parsed}) - used}"


def run(step: str, block: Block, space: dict) -> None:
    """Run a Python block, examples with what they print, or a line of a shell."""
    if block.language == "python":
        space["__name__"] = "__main__"
        exec(compile(step, block.place, "exec"), space)
    elif block.language == "pycon":
        check_examples(block, space)
    elif block.language == "console":
        check_output(block)
    else:
        assert main(arguments(step)) == 0, f"{block.place}: {step}"


def arguments(line: str) -> list[str]:
    """The arguments of `mmmamba`, whichever way it is started."""
    words = shlex.split(line, comments=True)
    for program, first in PROGRAMS.items():
        if tuple(words[: len(program)]) == program:
            return first + words[len(program) :]
    raise AssertionError(
        f"no test knows how to run {line!r}: give it to run_page as `special` or `parsed`"
    )


def check_output(block: Block) -> None:
    """Compare a command, `$ mmmamba …` in the first lines, with the end of what it prints.

    `...` stands for anything.
    """
    (command,) = block.commands
    wanted = block.text.replace("\\\n", " ").split("\n", 1)[1]
    printed = io.StringIO()
    with redirect_stderr(printed), redirect_stdout(printed):
        try:
            code = main(arguments(command))
        except SystemExit as stop:
            code = stop.code
    found = doctest.OutputChecker().check_output(f"...{wanted}", printed.getvalue(), LOOSE)
    assert found, (
        f"{block.place}: {command}\nwanted at the end:\n{wanted}\nprinted:\n{printed.getvalue()}"
    )
    assert code == (2 if wanted.startswith("error:") else 0), f"{block.place}: exit code {code}"


def check_examples(block: Block, space: dict) -> None:
    """Python examples with what they print or raise."""
    test = doctest.DocTestParser().get_doctest(block.text, {}, block.place, block.place, 0)
    test.globs, printed = space, io.StringIO()
    runner = doctest.DocTestRunner(optionflags=LOOSE)
    runner.run(test, out=printed.write, clear_globs=False)
    assert runner.failures == 0 and runner.tries, printed.getvalue()
