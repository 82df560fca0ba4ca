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
    """Turn links between the root and `docs/` into links of a folder, which the site is."""
    return re.sub(r"\]\((?:docs|\.\.)/(?=\w+\.md)", "](", markdown)
