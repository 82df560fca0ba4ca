"""Hook of mkdocs: what pages link to outside of `docs/` stands in the site as well."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Pages that stand at the root, where whoever comes to the repository looks for them."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, and `configs/**.py` under their names in links, `../configs/…`."""
    for page in PAGES:
        files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
    for path in sorted((ROOT / "configs").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        file = File(
            f"../{name}", config.docs_dir, config.site_dir, config.use_directory_urls, dest_uri=name
        )
        # mkdocs has left out already what begins with a dot, as this name does.
        file.inclusion = InclusionLevel.INCLUDED
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between the root and `docs/` into links of a folder, and lines into lists."""
    return with_lists(re.sub(r"\]\((?:docs|\.\.)/(?=\w+\.md)", "](", markdown))


def with_lists(markdown: str) -> str:
    """Put a line without text before lists that follow a paragraph, which is how mkdocs sees them.

    Whatever else shows Markdown sees them without.
    """
    lines: list[str] = []
    in_code = False
    for line in markdown.splitlines():
        in_code ^= line.lstrip().startswith("```")
        before = lines[-1] if lines else ""
        begins = re.match(r"- |\d+\. ", line) and not re.match(r"- |\d+\. |\s", before)
        if begins and before.strip() and not in_code:
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"
