"""A config imports modules that lie beside it, whatever folder a command is run in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.registry import MODELS

from mmmamba.config.open import check_config, open_config
from mmmamba.errors import UsageError

MODULE = """from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module(force=True)
class BesideNeck(nn.Module):
    pass
"""
CONFIG = "custom_imports = dict(imports=['beside_neck'])\nmodel = dict(type='BesideNeck')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A config in a folder, run from another, with nothing of it known afterwards."""
    path, modules = list(sys.path), set(sys.modules)
    folder, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (folder / "mine.py").write_text(CONFIG)
    yield folder
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("beside", "stand_in")):
            del sys.modules[name]
    MODELS.module_dict.pop("BesideNeck", None)


def refusal(config: Path) -> str:
    with pytest.raises(UsageError) as error:
        open_config(config)
    return str(error.value)


@pytest.mark.parametrize("place", ["beside_neck.py", "beside_neck/__init__.py"])
def test_beside_the_config_or_its_base_and_from_the_copy_of_a_run(folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text(MODULE)
    heir = folder.parent / "heir.py"
    heir.write_text("_base_ = './project/mine.py'\n")
    cfg = open_config(heir)
    check_config(cfg)
    assert MODELS.get("BesideNeck").__module__ == "beside_neck"
    # A later process opens what the run wrote into its folder.
    cfg.dump(folder.parent / "resolved_config.py")
    MODELS.module_dict.pop("BesideNeck")
    del sys.modules["beside_neck"]
    sys.path.remove(str(folder))
    open_config(folder.parent / "resolved_config.py")
    assert MODELS.get("BesideNeck") is not None


def test_imported_by_a_config_in_pythons_own_style(folder: Path) -> None:
    (folder / "beside_neck.py").write_text(MODULE)
    (folder / "mine.py").write_text(
        "from beside_neck import BesideNeck\nmodel = dict(type=BesideNeck)\n"
    )
    assert type(MODELS.build(open_config(folder / "mine.py").model)).__name__ == "BesideNeck"


def test_one_that_is_not_there(folder: Path) -> None:
    (folder / "beside_necks.py").write_text(MODULE)
    message = refusal(folder / "mine.py")
    assert (
        f"there is no module beside_neck; it is neither installed nor is beside_neck.py in {folder}"
        in message
    )
    assert "Did you mean 'beside_necks'" in message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import beside_nothing", "ModuleNotFoundError: No module named 'beside_nothing'"),
        ("MODELS.get('x').y", "AttributeError: 'NoneType' object has no attribute 'y'"),
    ],
)
def test_one_that_cannot_be_imported(folder: Path, line: str, reason: str) -> None:
    (folder / "beside_neck.py").write_text(MODULE + line + "\n")
    assert f"{reason} ({folder / 'beside_neck.py'}:8)" in refusal(folder / "mine.py")


def test_another_of_its_name(folder: Path) -> None:
    (folder / "json.py").write_text(MODULE)
    (folder / "mine.py").write_text("custom_imports = dict(imports='json')\n")
    assert f"has the name of {folder / 'json.py'}. Rename yours" in refusal(folder / "mine.py")
