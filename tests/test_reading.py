"""What can be counted of how the code reads; `ruff` holds the rest (`make lint`)."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WIDTH = 100
LENGTH = 400
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
TABLES = (ast.Dict, ast.List, ast.Tuple, ast.Set)


def python_files() -> list[Path]:
    folders = ("mmmamba", "configs", "tools", "benchmarks", "tests")
    return [ROOT / "setup.py", *(path for name in folders for path in (ROOT / name).rglob("*.py"))]


FILES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in python_files()
}
PACKAGE = {name: text for name, text in FILES.items() if name.startswith("mmmamba/")}


def numbered(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.splitlines(), start=1)


def docstrings(text: str) -> Iterator[tuple[int, str]]:
    """The docstrings of a file, those below constants too, with the lines on which they begin."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(said))):
                yield node.lineno, said.strip()


def nested_comprehensions(text: str) -> Iterator[int]:
    """Lines of comprehensions that hold another one."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, COMPREHENSIONS):
            inner = [below for below in ast.walk(node) if below is not node]
            if any(isinstance(below, COMPREHENSIONS) for below in inner):
                yield node.lineno


def unformatted(text: str) -> Iterator[tuple[int, int]]:
    """First and last lines that `# fmt: skip` or `# fmt: off` and `# fmt: on` keep as they are."""
    begin = None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if "fmt: skip" in token.string:
            yield token.start[0], token.start[0]
        elif "fmt: off" in token.string:
            begin = token.start[0] + 1
        elif "fmt: on" in token.string and begin is not None:
            yield begin, token.start[0] - 1
            begin = None
    if begin is not None:
        yield begin, len(text.splitlines())


def statements(text: str, begin: int, end: int) -> list[ast.stmt]:
    """The innermost statements that reach into lines of a file."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and node.lineno <= end and begin <= node.end_lineno:
            bodies = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
            if not any(bodies):
                found.append(node)
    return found


def holds_a_table(statement: ast.stmt) -> bool:
    return any(isinstance(node, TABLES) for node in ast.walk(statement))


def test_no_line_is_too_long():
    long = [
        f"{name}:{number}"
        for name, text in FILES.items()
        for number, line in numbered(text)
        if len(line) > WIDTH
    ]
    assert not long, f"{len(long)} lines have more than {WIDTH} columns: {long}"


def test_no_file_is_too_long():
    lengths = {name: len(text.splitlines()) for name, text in FILES.items()}
    long = {name: length for name, length in lengths.items() if length > LENGTH}
    assert not long, f"files of more than {LENGTH} lines: {long}"


def test_docstrings_begin_with_what_a_thing_is():
    """Not with what it is of."""
    found = [
        f"{name}:{line}"
        for name, text in FILES.items()
        for line, said in docstrings(text)
        if said.startswith("Of ")
    ]
    assert not found, f"{len(found)} docstrings begin with 'Of': {found}"


def test_docstrings_are_markdown():
    """A single backtick, as in the pages; two are reStructuredText's."""
    found = [
        f"{name}:{line}"
        for name, text in PACKAGE.items()
        for line, said in docstrings(text)
        if re.search(r"(?<!`)``(?!`)", said)
    ]
    assert not found, f"{len(found)} docstrings hold two backticks: {found}"


def test_no_comprehension_holds_another():
    found = [
        f"{name}:{line}" for name, text in PACKAGE.items() for line in nested_comprehensions(text)
    ]
    assert not found, f"{len(found)} comprehensions hold another: {found}"


def test_only_tables_are_kept_from_the_formatter():
    found = []
    for name, text in FILES.items():
        if "fmt:" not in text:
            continue
        for begin, end in unformatted(text):
            kept = statements(text, begin, end)
            if not kept or not all(holds_a_table(statement) for statement in kept):
                found.append(f"{name}:{begin}")
    assert not found, f"no table, but kept from the formatter: {found}"


@pytest.mark.parametrize(
    "text, lines",
    [
        ("[[x for x in row] for row in rows]", [1]),
        ("a = 1\nsum(max(y for y in x) for x in rows)", [2]),
        ("[x for row in rows for x in row]", []),
    ],
)
def test_nested_comprehensions_are_seen(text, lines):
    assert list(nested_comprehensions(text)) == lines


def test_docstrings_of_constants_are_seen():
    assert list(docstrings('"""A file."""\nA = 1\n"""Of it."""\n')) == [
        (1, "A file."),
        (3, "Of it."),
    ]


def test_what_the_formatter_leaves_alone_is_seen():
    skip, off, on = (f"# fmt: {word}" for word in ("skip", "off", "on"))
    text = f"a = f(1)  {skip}\n{off}\nb = [1,  2]\n{on}\n"
    assert list(unformatted(text)) == [(1, 1), (3, 3)]
    assert [holds_a_table(*statements(text, *lines)) for lines in unformatted(text)] == [
        False,
        True,
    ]
