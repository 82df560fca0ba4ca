"""The dependency lists of requirements/ and the folders; all else stands in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIREMENTS = Path(__file__).parent / "requirements"


def read_requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt without comments."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


# The configs lie beside the package in a checkout, where OpenMMLab's users look for them, and
# inside it once installed.
CONFIGS = "mmmamba.configs"
EXTRAS = ("export", "pretrain", "timm", "hub", "test", "lint", "docs", "mamba-ssm")

setup(
    packages=[*find_packages(include=["mmmamba*"]), CONFIGS],
    package_dir={CONFIGS: "configs"},
    package_data={"mmmamba": ["py.typed"], CONFIGS: ["**/*.py"]},
    install_requires=read_requirements("runtime"),
    extras_require={name: read_requirements(name) for name in EXTRAS},
)
