"""Hook of mkdocs: the configs that pages link to stand in the site as files."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `configs/**.py` under the names that links in `docs/` have for them, `../configs/…`."""
    for path in sorted((ROOT / "configs").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        file = File(
            f"../{name}", config.docs_dir, config.site_dir, config.use_directory_urls, dest_uri=name
        )
        # mkdocs has left out already what begins with a dot, as this name does.
        file.inclusion = InclusionLevel.INCLUDED
        files.append(file)
    return files
