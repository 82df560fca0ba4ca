"""The package's lists say what it needs, and `make` says what is wrong."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmmamba.compat import opencv

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12")
# In the closure of a requirement, which pins or chooses their versions.
COMES_WITH = {"cv2": "onedl-mmcv", "llvmlite": "numba"}
OPTIONAL = {"triton", "mamba_ssm", "selective_scan_cuda", "timm", "yacs"}


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def pins(python: str, file: str = "tested") -> dict[str, str]:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
    }
    chosen: dict[str, str] = {}
    for pin in requirements(file):
        if pin.marker is None or pin.marker.evaluate(environment):
            name = canonicalize_name(pin.name)
            assert name not in chosen, f"{name} is pinned twice for Python {python}"
            (specifier,) = pin.specifier
            assert specifier.operator == "==", f"{pin} is no exact version"
            chosen[name] = specifier.version
    return chosen


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    "name, file",
    [("runtime", "tested"), ("test", "tested"), ("lint", "tested"), ("docs", "tested-docs")],
)
def test_tested_versions_meet_the_requirements(name: str, file: str, python: str) -> None:
    chosen = pins(python, file)
    for requirement in requirements(name):
        assert requirement.specifier.contains(chosen[canonicalize_name(requirement.name)]), (
            requirement
        )


def test_every_import_is_required() -> None:
    """What the package imports stands in runtime.txt; nothing comes in by luck through others."""
    required = {canonicalize_name(r.name) for r in requirements("runtime")}
    distributions = packages_distributions()
    missing = []
    for path in (ROOT / "mmmamba").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for top in (
                {name.split(".")[0] for name in names}
                - set(sys.stdlib_module_names)
                - OPTIONAL
                - {"mmmamba"}
            ):
                owners = {
                    canonicalize_name(owner)
                    for owner in [*distributions.get(top, []), COMES_WITH.get(top, top)]
                }
                if not owners & required:
                    missing.append(f"{path.relative_to(ROOT)} imports {top}")
    assert not missing, "not in requirements/runtime.txt: " + "; ".join(missing)


def test_opencv_that_lacks_desktop_libraries_names_the_cure(tmp_path: Path) -> None:
    package = tmp_path / "cv2"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    )
    code = "from mmmamba.compat.opencv import check_opencv; check_opencv()"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "libGL.so.1: cannot open" in last and opencv.CURE in last


def test_the_cure_installs_the_tested_version() -> None:
    assert {pins(python)["opencv-python-headless"] for python in PYTHONS} == {
        opencv.HEADLESS_VERSION
    }


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.9\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "-C", str(ROOT), "demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs Python 3.10 or newer" in done.stdout and "Python 3.9.9" in done.stdout
    assert not (tmp_path / "venv").exists()


def test_one_version_is_written_down() -> None:
    import mmmamba

    (version,) = re.findall(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert mmmamba.__version__ == version
