"""Write the tables of measured numbers in docs/ anew from the data files in results/.

    python benchmarks/tables.py           replace what stands between the markers
    python benchmarks/tables.py --check   only say which pages would change; exit code 1 if any

A page marks a table by `<!-- table: NAME -->` above it and `<!-- end -->` below. `TABLES` in
`pages.py` says of each which file it comes from and how its cells are written.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from pages import TABLES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def made_anew(page: str) -> str:
    """A page's text with its tables made of the data.

    Raises:
        KeyError: it marks a table that `TABLES` does not have.
    """

    def table(marked: re.Match) -> str:
        if marked[2] not in TABLES:
            raise KeyError(f"no table {marked[2]!r}; there are {', '.join(TABLES)}")
        return marked[1] + TABLES[marked[2]].markdown() + marked[3]

    return MARKED.sub(table, page)


def marked_tables() -> list[str]:
    """Names of the tables that pages mark."""
    names = []
    for path in sorted(DOCS.glob("*.md")):
        names += [found[2] for found in MARKED.finditer(path.read_text(encoding="utf-8"))]
    return names


def stale_pages() -> dict[Path, str]:
    """What pages would have to say that say something else."""
    stale = {}
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if made_anew(text) != text:
            stale[path] = made_anew(text)
    return stale


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    stale = stale_pages()
    for path, new in stale.items():
        if not args.check:
            path.write_text(new, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'differs from the data' if args.check else 'written'}")
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
