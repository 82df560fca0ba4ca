"""A config in JSON or YAML is data. Whatever it says, nothing of it is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, registry

from mmmamba.engine.errors import UsageError
from mmmamba.engine.reading import read_config
from mmmamba.zoo.configs import find_config


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program beside the config, from which it may be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "get_object_from_string", registry.get_object_from_string)
    (tmp_path / "evil.py").write_text("import os\nos.mkdir('ran')\n")
    (tmp_path / "evil_package").mkdir()
    (tmp_path / "evil_package" / "registry.py").write_text("import os\nos.mkdir('ran')\n")
    yield tmp_path
    assert not (tmp_path / "ran").exists()
    for name in [name for name in sys.modules if name.startswith("evil")]:
        del sys.modules[name]


def read(content: object, name: str = "config.json") -> Config:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_config(Path(name))


CHANGE = {"_base_": "mask_rcnn/vmamba_t_1x_coco", "model": {"backbone": {"arch": "vmamba_s"}}}


@pytest.mark.parametrize("name", ["config.json", "config.yaml", "config.yml"])
def test_data_over_a_config_of_ours_is_that_config_with_the_change(name: str) -> None:
    cfg = read(CHANGE, name)
    wanted = Config.fromfile(find_config(CHANGE["_base_"]))
    wanted.model.backbone.arch = "vmamba_s"
    assert cfg.to_dict() == wanted.to_dict()


def test_data_over_data_and_over_mmdet() -> None:
    base = "_base_: mmdet::retinanet/retinanet_r50_fpn_1x_coco.py\n"
    Path("first.yaml").write_text(base + "model: {backbone: {depth: 18}}\n")
    cfg = read({"_base_": "first.yaml", "model": {"neck": {"_delete_": True, "type": "FPN"}}})
    assert cfg.model.backbone.depth == 18 and cfg.model.neck == dict(type="FPN")


def test_a_config_that_mmengine_saved_as_data_reads_back() -> None:
    wanted = Config.fromfile(find_config("mask_rcnn/vmamba_t_1x_coco"))
    for name in ("saved.yaml", "saved.json"):
        wanted.dump(name)
        cfg = read_config(Path(name))
        assert cfg.model == wanted.model
        assert cfg.train_dataloader.dataset.type == "CocoDataset"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"_base_": "evil.py"}, "evil.py is a Python program"),
        ({"_base_": "./evil.py"}, "evil.py is a Python program"),
        ({"_base_": ["mask_rcnn/vmamba_t_1x_coco", "evil.py"]}, "evil.py is a Python program"),
        ({"_base_": "evil::x"}, "from mmdet:: and mmseg:: only"),
        ({"_base_": "mmdet::../../evil.py"}, "from mmdet:: and mmseg:: only"),
        ({"_base_": {"a": 1}}, "wanted the name of a config"),
        ({"_base_": "config.json"}, "a _base_ of itself"),
        ({"custom_imports": {"imports": ["evil"]}}, "imports a program"),
        ({"custom_imports": {"imports": ["mmmamba", "os.path"]}}, "imports a program"),
        ({"custom_imports": {"imports": "evil"}}, "imports a program"),
        ({"custom_imports": ["evil"]}, "is no mapping"),
        ({"custom_imports.imports": ["evil"]}, "custom_imports.imports"),
        ({"custom_imports": {"imports": ["mmmamba..evil"]}}, "imports a program"),
        (
            {"model": {"type": "os.mkdir", "path": "ran"}},
            "model.type='os.mkdir' is no registered name",
        ),
        ({"model.type": "os.mkdir"}, "no registered name"),
        (
            {"train_dataloader": {"dataset": {"pipeline": [{"type": "evil.Evil"}]}}},
            "pipeline.0.type='evil.Evil'",
        ),
        ({"test_cfg": {"nms": {"type": "__import__('os').mkdir('ran')"}}}, "no registered name"),
        ({"model": {"type": ["os.mkdir"]}}, "is no name"),
        ({"optim_wrapper": {"constructor": "evil_package.Evil"}}, "no registered name"),
        ({"runner_type": "evil.Evil"}, "no registered name"),
        ({"default_scope": "evil_package"}, "default_scope='evil_package' is none of mmengine"),
        ({"model": {"_scope_": "evil_package", "type": "X"}}, "is none of mmengine"),
        ({"model": {"cmc": {"type": "CameraMotionCompensation"}}}, "evaluates its warp_mode"),
        ({"model": {"type": "mmseg.TIMMBackbone"}}, "unpickles"),
        (
            {"model": {"init_cfg": {"type": "Pretrained", "checkpoint": "x.pth", "trust": 1}}},
            "unpickles a checkpoint",
        ),
        ({"load_from": "http://evil/{{$HOME:x}}"}, "has {{…}}"),
        ({"work_dir": "/etc"}, "outside of the current folder"),
        ({"test_evaluator": {"outfile_prefix": "../x"}}, "outside of the current folder"),
        ("{", "cannot be read"),
        ("[1]", "holds a list"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_what_could_run_something_is_refused(content: object, message: str) -> None:
    with pytest.raises(UsageError, match=f"(?s)config.json.*{re.escape(message)}"):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: !!python/object/apply:os.mkdir [ran]", "could not determine a constructor"),
        ("model: !!python/name:os.mkdir", "could not determine a constructor"),
        ("model: !!python/module:evil", "could not determine a constructor"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases are not read"),
        ("a: [", "cannot be read"),
        ("a: \x00", "cannot be read"),
        ("just text", "holds a str"),
    ],
)
def test_yaml_makes_no_objects(content: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(content, "config.yaml")


def test_an_unknown_name_is_not_imported() -> None:
    """The last thing that a registry tries with a name it does not know is to import it."""
    cfg = read(
        {"_base_": CHANGE["_base_"], "model": {"backbone": {"_delete_": True, "type": "evil"}}}
    )
    with pytest.raises(KeyError, match="evil is not in the"):
        MODELS.build(cfg.model.backbone)


def test_mmengines_own_reading_does_run_such_files(tmp_path: Path) -> None:
    """If this fails, MMEngine has mended its reader and less of ours is needed. In a process of its own."""
    Path("config.yaml").write_text("model: !!python/object/apply:os.mkdir [ran_here]\n")
    code = "from mmengine.config import Config; Config.fromfile('config.yaml')"
    subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert Path("ran_here").is_dir()


def test_the_command_line_says_it_in_one_line(capsys: pytest.CaptureFixture) -> None:
    from mmmamba.commands import main

    Path("config.json").write_text(json.dumps({"model": {"type": "os.mkdir"}}))
    assert main(["train", "config.json"]) == 2
    message = capsys.readouterr().err
    assert (
        message.startswith("error: config.json: model.type='os.mkdir'") and message.count("\n") == 1
    )
    assert textwrap.shorten(message, 300) == message.strip()
