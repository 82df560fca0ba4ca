"""The resolved config of a run has a file of its own; files of the user's stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmmamba.commands import main
from mmmamba.engine.reliability.run_config import FILE, HEAD, write_config
from mmmamba.errors import UsageError
from mmmamba.inference.opening import find_files

from ..tiny_models import toy, validated
from ..tiny_runs import Witness

MINE = "# mine\n_base_ = 'base.py'\n"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config with a comment and a base, in the folder that a run is to write to."""
    monkeypatch.chdir(tmp_path)
    cfg = validated(toy(tmp_path))
    cfg.test_dataloader, cfg.test_cfg, cfg.test_evaluator = (
        cfg.val_dataloader,
        {},
        cfg.val_evaluator,
    )
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir = "."
    cfg.dump("base.py")
    Path("config.py").write_text(MINE)
    Witness.watch()
    return tmp_path


def test_the_config_beside_a_run_is_left_alone(beside: Path) -> None:
    assert main(["train", "config.py", "--work-dir", "."]) == 0
    assert Path("config.py").read_text() == MINE
    first = Path(FILE).read_text()
    assert first.startswith(HEAD) and Config.fromfile(FILE).train_cfg.max_epochs == 1
    assert find_files(beside)[0] == beside / FILE
    # The next start writes its own; testing leaves it, and has its own beside its log.
    assert (
        main(["train", "config.py", "--work-dir", ".", "--cfg-options", "train_cfg.max_epochs=2"])
        == 0
    )
    second = Path(FILE).read_text()
    assert second != first and Config.fromfile(FILE).train_cfg.max_epochs == 2
    assert (
        main(
            [
                "test",
                "config.py",
                "iter_10.pth",
                "--work-dir",
                ".",
                "--cfg-options",
                "randomness.seed=7",
            ]
        )
        == 0
    )
    assert Path("config.py").read_text() == MINE and Path(FILE).read_text() == second
    assert any(
        Config.fromfile(path).randomness.get("seed") == 7 for path in beside.glob(f"*/{FILE}")
    )
    # And from itself.
    assert main(["train", FILE, "--resume"]) == 0


@pytest.mark.parametrize("content", ["x = 1\n", HEAD + "0\nx = 1\n", None])
def test_a_file_of_that_name_that_is_not_ours_is_kept(
    beside: Path, capsys, content: str | None
) -> None:
    if content is None:
        write_config(Config(dict(x=1)), ".")
        content = Path(FILE).read_text().replace("1", "2")
    Path(FILE).write_text(content)
    assert main(["train", "config.py", "--work-dir", "."]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"error: {FILE} is not as a run wrote it") and "rename it" in message
    assert Path(FILE).read_text() == content and not list(Path().glob("*.pth"))


def test_a_link_of_that_name_is_not_followed(tmp_path: Path) -> None:
    write_config(Config(dict(x=1)), tmp_path / "other")
    (tmp_path / FILE).symlink_to(tmp_path / "other" / FILE)
    with pytest.raises(UsageError, match="is not as a run wrote it"):
        write_config(Config(dict(x=2)), tmp_path)


def test_a_runner_of_ones_own(beside: Path, capsys) -> None:
    @RUNNERS.register_module(force=True)
    class OwnRunner(Runner):
        made = 0

        def __init__(self, *arguments, **options) -> None:
            OwnRunner.made += 1
            super().__init__(*arguments, **options)

    try:
        assert main(["train", "config.py", "--cfg-options", "runner_type=OwnRunner"]) == 0
    finally:
        RUNNERS.module_dict.pop("OwnRunner")
    assert OwnRunner.made == 1 and Path(FILE).is_file() and Path("config.py").read_text() == MINE
    assert main(["train", "config.py", "--cfg-options", "runner_type=OwnRuner"]) == 2
    assert "runner_type='OwnRuner' is not registered" in capsys.readouterr().err
