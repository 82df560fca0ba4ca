"""Reads the dependency lists of requirements/; everything else about the package stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup

REQUIREMENTS = Path(__file__).parent / "requirements"


def read_requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt without comments."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


setup(
    install_requires=read_requirements("runtime"),
    extras_require={name: read_requirements(name) for name in ("test", "docs", "mamba-ssm")},
)
