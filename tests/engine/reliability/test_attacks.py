"""Every way in which our commands load a file from elsewhere, with one that would run something."""

from __future__ import annotations

import builtins
import functools
import http.server
import json
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.fileio import load
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, checkpoint, load_checkpoint

import mmmamba  # before mmdet, which imports mmcv's operators
from mmmamba.checkpoints import CheckpointError
from mmmamba.checkpoints.last_checkpoint import find_last
from mmmamba.commands import main
from mmmamba.datasets.guarded import DataError, Ledger, build_checked
from mmmamba.engine.reliability.safe_loading import refuse_pickled_messages, refuse_unpickling
from mmmamba.errors import UsageError

from ...checkpoints.pickle_programs import archive, attribute, mapping, name, text
from ..tiny_models import detection, toy
from ..tiny_runs import train


class Runs:
    """Makes a folder when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def pickled(path: Path, mark: Path) -> None:
    torch.save(dict(state_dict={}, meta=dict(epoch=1, iter=1), extra=Runs(mark)), path)


def old_format(path: Path, mark: Path) -> None:
    torch.save(dict(state_dict={}, extra=Runs(mark)), path, _use_new_zipfile_serialization=False)


def bare(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Runs(mark), protocol=2))


def builtins_changed(path: Path, mark: Path) -> None:
    """Makes `open` mean None, by nothing but `getattr`, which MMEngine allows."""
    module = attribute(name("builtins", "getattr"), "__self__")
    archive(
        path,
        mapping(
            state_dict=mapping(), x=attribute(module, "__dict__") + text("MMMAMBA_PWNED") + b"Ns"
        ),
    )


FILES = [pickled, old_format, bare, builtins_changed]


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    refuse_unpickling()
    yield tmp_path / "it_ran"
    assert not (tmp_path / "it_ran").exists() and not hasattr(builtins, "MMMAMBA_PWNED")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("make", FILES)
@pytest.mark.parametrize("address", ["path", "http", "file"])
def test_mmengines_loader(
    make: Callable, address: str, mark: Path, site: str, tmp_path: Path
) -> None:
    make(tmp_path / "evil.pth", mark)
    path = tmp_path / "evil.pth"
    source = dict(path=str(path), http=f"{site}/evil.pth", file=path.as_uri())[address]
    with pytest.raises(CheckpointError, match="evil.pth"):
        load_checkpoint(torch.nn.Linear(1, 1), source)


def test_every_scheme_of_mmengines_loader_ends_in_ours(
    mark: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled(mark.parent / "evil.pth", mark)
    monkeypatch.setattr(checkpoint, "get_torchvision_models", lambda: {"evil": f"{site}/evil.pth"})
    monkeypatch.setattr(checkpoint, "get_external_models", lambda: {"evil": f"{site}/evil.pth"})
    monkeypatch.setattr(checkpoint, "get_mmcls_models", lambda: {"evil": f"{site}/evil.pth"})
    monkeypatch.setattr(checkpoint, "get_deprecated_model_names", dict)
    for scheme in ("torchvision://", "modelzoo://", "open-mmlab://", "openmmlab://", "mmcls://"):
        with pytest.raises(CheckpointError, match="could run code"):
            CheckpointLoader.load_checkpoint(f"{scheme}evil")
    with (
        (mark.parent / "evil.pth").open("rb") as file,
        pytest.raises(CheckpointError, match="could run code"),
    ):
        checkpoint._safe_torch_load(file)
    assert {p for p in CheckpointLoader._schemes if "//" in p} == {
        "http://",
        "https://",
        "file://",
        "pavi://",
        "torchvision://",
        "modelzoo://",
        "open-mmlab://",
        "openmmlab://",
        "mmcls://",
        r"(\S+\:)?s3://",
        r"(\S+\:)?petrel://",
    }, "MMEngine reads from another scheme: see that it ends in _safe_torch_load or load_from_http"


@pytest.mark.parametrize("make", [pickled, builtins_changed])
def test_train_and_test(
    make: Callable, mark: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = toy(tmp_path)
    make(tmp_path / "evil.pth", mark)
    for options in (["--resume", "evil.pth"], ["--cfg-options", "load_from=evil.pth"]):
        assert train(cfg, *options) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("error: ") and "evil.pth" in message


def test_a_detectors_weights(
    mark: Path, site: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """`test`, `init_cfg` of ours and of mmdet's own ResNet, `create_backbone`, `infer`."""
    cfg = detection(tmp_path)
    pickled(tmp_path / "evil.pth", mark)
    for part in ("dataloader", "cfg", "evaluator"):
        cfg[f"test_{part}"] = None
    cfg.test_dataloader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(cfg.train_dataloader.dataset, test_mode=True),
    )
    cfg.test_cfg, ann = dict(), cfg.train_dataloader.dataset.ann_file
    cfg.test_evaluator = dict(
        type="CocoMetric", metric="bbox", ann_file=str(tmp_path / "shapes" / ann)
    )
    cfg.dump(tmp_path / "detector.py")
    for command in (
        ["test", "detector.py", "evil.pth"],
        ["test", "detector.py", f"{site}/evil.pth"],
        [
            "infer",
            "detector.py",
            str(min((tmp_path / "shapes/train").iterdir())),
            "--checkpoint",
            "evil.pth",
        ],
    ):
        capsys.readouterr()
        assert main(command) == 2
        assert "evil.pth holds objects that are not weights" in capsys.readouterr().err, command
    with pytest.raises(CheckpointError, match="evil.pth"):
        mmmamba.create_backbone("vmamba_t", weights=tmp_path / "evil.pth")
    for backbone in (dict(type="VMamba", arch="vmamba_t"), dict(type="mmdet.ResNet", depth=18)):
        built = MODELS.build(
            dict(backbone, init_cfg=dict(type="Pretrained", checkpoint=f"{site}/evil.pth"))
        )
        with pytest.raises(CheckpointError, match="evil.pth"):
            built.init_weights()


def test_resuming_runs_no_text_of_a_checkpoint(mark: Path, tmp_path: Path) -> None:
    """MMEngine's `resume` would run `meta['config']` as a Python program."""
    cfg = toy(tmp_path)
    assert train(cfg) == 0
    path = Path(find_last(tmp_path / "run"))
    held = torch.load(path, weights_only=False)
    held["meta"]["config"] = f"import os\nos.mkdir({str(mark)!r})\n"
    torch.save(held, path)
    cfg.train_cfg.max_epochs = 3
    assert train(cfg, "--resume", str(path)) == 0


@pytest.mark.parametrize("suffix", ["pkl", "pickle"])
def test_pickled_annotations_are_refused(suffix: str, mark: Path, tmp_path: Path) -> None:
    path = tmp_path / f"annotations.{suffix}"
    path.write_bytes(pickle.dumps(dict(metainfo={}, data_list=[], extra=Runs(mark))))
    with pytest.raises(UsageError, match="is a pickle.*convert it"):
        load(str(path))
    with pytest.raises(UsageError, match="is a pickle"):
        BaseDataset(ann_file=str(path))
    with pytest.raises(DataError, match=f"annotations.{suffix} cannot be built: .* is a pickle"):
        build_checked(dict(type=BaseDataset, ann_file=str(path)), Ledger(), skip=True)


def test_yaml_makes_no_objects(mark: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.yaml").write_text(f"a: !!python/object/apply:os.mkdir [{mark}]\n")
    with pytest.raises(UsageError, match="could not determine a constructor"):
        load(str(tmp_path / "evil.yaml"))
    with pytest.raises(UsageError, match="could not determine a constructor"):
        Config.fromfile(tmp_path / "evil.yaml")


def test_options_of_the_command_line_are_not_evaluated(mark: Path, tmp_path: Path, capsys) -> None:
    cfg = toy(tmp_path)
    train(
        cfg, "--cfg-options", f"work_dir=__import__('os').mkdir('{mark}')", "train_cfg.max_epochs=0"
    )
    (tmp_path / "config.json").write_text(json.dumps({"_base_": "config.py"}))
    assert main(["train", "config.json"]) == 2


def test_no_pickle_between_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2024-12044: `all_reduce_dict` unpickles what another process sent.

    It does for any dict but an OrderedDict.
    """
    from mmdet.engine.hooks.sync_norm_hook import get_norm_states
    from mmdet.utils import dist_utils

    configs = Path(__file__).parents[3] / "configs"
    assert not [path for path in configs.rglob("*.py") if "SyncNormHook" in path.read_text()]
    # The hook of mmdet's own YOLOX configs, its one caller, does not come there.
    assert isinstance(get_norm_states(torch.nn.BatchNorm2d(2)), OrderedDict)
    monkeypatch.setattr(dist_utils, "tensor2obj", dist_utils.tensor2obj)
    refuse_pickled_messages()
    monkeypatch.setattr(dist_utils, "get_dist_info", lambda: (0, 2))
    monkeypatch.setattr(dist_utils.dist, "broadcast", lambda *arguments, **options: None)
    monkeypatch.setattr(dist_utils, "obj2tensor", lambda found: torch.zeros(1))
    with pytest.raises(UsageError, match="CVE-2024-12044"):
        dist_utils.all_reduce_dict({"a": torch.zeros(1)})
