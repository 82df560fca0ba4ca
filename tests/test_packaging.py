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
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mmmamba
from mmmamba.compat import opencv

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12")
# In the closure of a requirement, which pins or chooses their versions.
COMES_WITH = {"cv2": "onedl-mmcv", "llvmlite": "numba", "onnx_ir": "onnxscript"}
OPTIONAL = {"triton", "mamba_ssm", "selective_scan_cuda", "timm", "huggingface_hub"}
OPTIONAL |= {"mmpretrain", "yacs", "pandas"}


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
    [
        ("runtime", "tested"),
        ("test", "tested"),
        ("lint", "tested"),
        ("export", "tested"),
        ("pretrain", "tested"),
        ("timm", "tested"),
        ("hub", "tested"),
        ("docs", "tested-docs"),
    ],
)
def test_tested_versions_meet_the_requirements(name: str, file: str, python: str) -> None:
    chosen = pins(python, file)
    for requirement in requirements(name):
        assert requirement.specifier.contains(chosen[canonicalize_name(requirement.name)]), (
            requirement
        )


def imported(path: Path) -> set[str]:
    """The packages that a file imports, without its own."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_every_import_is_required() -> None:
    """What the package imports stands in runtime.txt or, for exports, export.txt: none by luck."""
    runtime = {canonicalize_name(r.name) for r in requirements("runtime")}
    extra = {canonicalize_name(r.name) for r in requirements("export")}
    distributions = packages_distributions()
    missing = []
    for path in (ROOT / "mmmamba").rglob("*.py"):
        exports = "exporting" in path.parts
        required = runtime | extra if exports else runtime
        for top in imported(path) - set(sys.stdlib_module_names) - OPTIONAL - {"mmmamba"}:
            owners = [*distributions.get(top, []), COMES_WITH.get(top, top)]
            if not required & set(map(canonicalize_name, owners)):
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


def version_in_pyproject() -> str:
    text = (ROOT / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.+)"$', text, re.MULTILINE)
    return version


def test_one_version_is_written_down() -> None:
    assert mmmamba.__version__ == version_in_pyproject()


def test_the_citation_file_is_whole() -> None:
    """What the form wants, https://citation-file-format.github.io, and our version."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["cff-version"], citation["license"]) == ("1.2.0", "Apache-2.0")
    assert citation["version"] == version_in_pyproject()


def test_the_package_says_that_it_is_typed() -> None:
    """In a checkout and once it is installed (PEP 561)."""
    assert (ROOT / "mmmamba/py.typed").is_file()
    data = re.search(r"package_data=(.+)", (ROOT / "setup.py").read_text())[1]
    assert '"mmmamba": ["py.typed"]' in data


@pytest.mark.parametrize("file", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda f: f.name)
def test_forms_of_issues_can_be_filled_in(file: Path) -> None:
    form = yaml.safe_load(file.read_text())
    if file.name == "config.yml":
        assert "blank_issues_enabled" in form
        return
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)


def test_commits_run_what_make_lint_runs() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    programs = {hook["entry"].split(" --")[0] for hook in repository["hooks"]}
    dry = subprocess.run(
        ["make", "-n", "lint", f"VENV={ROOT / '.venv'}"], cwd=ROOT, capture_output=True, text=True
    )
    assert dry.returncode == 0, dry.stderr
    assert all(f"{ROOT}/{program}" in dry.stdout for program in programs), dry.stdout


def test_blame_leaves_out_commits_that_are_there() -> None:
    lines = (ROOT / ".git-blame-ignore-revs").read_text().splitlines()
    commits = [line for line in lines if line and not line.startswith("#")]
    assert commits and all(re.fullmatch(r"[0-9a-f]{40}", commit) for commit in commits)
