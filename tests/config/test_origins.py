"""Each value of a config is traced to the file and line that wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmmamba.config.find import list_configs
from mmmamba.config.origins import Origins, leaves

FILES = {
    "base.py": """
model = dict(
    type='A',
    backbone=dict(type='B', depth=50),
    head=[dict(type='H', width=1), dict(type='H', width=2)])
size = (8, 8)
pipeline = [
    dict(type='Load'),
    dict(type='Resize', scale=size)]
loader = dict(dataset=dict(pipeline=pipeline))
""",
    "other.py": "steps = dict(first=1, second=2)\n",
    "middle.py": """
_base_ = ['./base.py', './other.py']
model = {'type': 'A', 'backbone': dict(depth=101)}
steps = dict(second=3)
""",
    "top.py": """
_base_ = './middle.py'
depths = [3 * i for i in range(2)]
name = (
    'on a line of its own'
)
model = dict(backbone=dict(_delete_=True, type='B', depths=depths), head={{_base_.model.head}})
loader = dict(dataset=dict(pipeline=_base_.pipeline + [dict(type='Pack')]))
loader2 = loader
""",
}
WANTED = {
    ("model", "type"): "middle.py:3",
    ("model", "backbone", "type"): "top.py:7",
    ("model", "backbone", "depths"): "top.py:7",
    ("model", "head", 1, "width"): "base.py:5",
    ("steps", "first"): "other.py:1",
    ("steps", "second"): "middle.py:4",
    ("loader", "dataset", "pipeline", 1, "scale"): "base.py:9",
    ("loader", "dataset", "pipeline", 2, "type"): "top.py:8",
    ("loader2", "dataset", "pipeline", 2, "type"): "top.py:8",
    ("size",): "base.py:6",
    ("name",): "top.py:4",
}


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    return tmp_path / "top.py"


def test_a_chain_of_files(chain: Path) -> None:
    origins = Origins(chain)
    assert {keys: str(origins.of(keys)) for keys in WANTED} == WANTED


def test_options_come_last(chain: Path) -> None:
    origins = Origins(chain, ["model.backbone.type", "steps"])
    assert str(origins.of(("model", "backbone", "type"))) == "--cfg-options"
    assert str(origins.of(("steps", "second"))) == "--cfg-options"
    assert str(origins.of(("model", "backbone", "depths"))) == "top.py:7"


def test_imported_bases_are_not_told_apart(chain: Path) -> None:
    (chain.parent / "lazy.py").write_text(
        "from mmengine.config import read_base\nwith read_base():\n    from .base import *\nwidth "
        "= 3\n"
    )
    origins = Origins(chain.parent / "lazy.py")
    assert str(origins.of(("width",))) == "lazy.py:4"
    assert str(origins.of(("model", "type"))) == "lazy.py or what it imports"


def test_leaves() -> None:
    node = dict(a=dict(b=[1, (2, 3)], c={}), d=[dict(e=1), [dict(f=2)]])
    assert dict(leaves(node)) == {
        ("a", "b"): [1, (2, 3)],
        ("a", "c"): {},
        ("d", 0, "e"): 1,
        ("d", 1, 0, "f"): 2,
    }


def test_every_value_of_our_configs_has_a_line() -> None:
    for path in list_configs()[::9]:
        origins = Origins(path)
        for keys, _ in leaves(Config.fromfile(path).to_dict()):
            origin = origins.of(keys)
            text = Path(origin.source).read_text().splitlines()[origin.line - 1]
            # The line names the key, or is an entry of a list, or holds the variable that stands
            # for the value.
            assert str(keys[-1]) in text or "=" in text or "[" in text, (path, keys, str(origin))
