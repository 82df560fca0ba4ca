"""What a COCO file that was made of other label files says of those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .kinds import KINDS
from .report import Report


def add_converted(content: dict, report: Report) -> None:
    """Add what was found when the file was made; nothing where it was not made here."""
    info = content.get("info")
    findings = info.get("findings") if isinstance(info, dict) else None
    for finding in findings if isinstance(findings, list) else ():
        if isinstance(finding, dict) and finding.get("kind") in KINDS:
            file, detail = finding.get("file"), finding.get("detail", "")
            report.add(finding["kind"], str(detail), file=None if file is None else str(file))


def check_age(content: dict, file: str | Path, report: Report) -> None:
    """Label files that are newer than the COCO file that was made of them, or gone."""
    written = Path(file).stat().st_mtime
    for image in content["images"]:
        labels = image.get("labels")
        if not isinstance(labels, str):
            continue
        changed = _time(labels)
        if changed is None:
            report.add("labels-newer", "it is no longer there", file=labels)
        elif changed > written:
            report.add("labels-newer", file=labels)


def _time(file: str) -> Any:
    try:
        return Path(file).stat().st_mtime
    # A ValueError is what a path with a null byte in it raises.
    except (OSError, ValueError):
        return None
