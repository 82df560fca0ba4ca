"""What can be wrong with the second images of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .channels import Reading
from .images import ImageFacts, in_threads, read_image_facts
from .report import Report


def partners_of(entries: Sequence[dict]) -> list[tuple[str, str]]:
    """Paths of each image of a data set and of its second one; none where it has no pairs."""
    return [(one["img_path"], one["second_path"]) for one in entries if "second_path" in one]


def check_partners(
    partners: Sequence[tuple[str, str]], report: Report, reading: Reading, decode: bool = True
) -> None:
    """Read second images and add what is wrong with them.

    Args:
        partners: paths of each image and of its second one.
        decode: read second images whole; otherwise their headers only, as of the first.
    """

    def read(pair: tuple[str, str]) -> tuple[ImageFacts, ImageFacts]:
        # The first images are decoded by the check of their label maps.
        first, second = read_image_facts(pair[0], decode=False), read_image_facts(pair[1], decode)
        second_turns = reading.second_color_type != "unchanged"
        return first, replace(second, turned=second.turned and second_turns)

    for paths, (first, second) in in_threads(read, partners, f"{report.name}: second images"):
        image, file = paths
        if second.error and not Path(file).exists():
            report.add("partner-missing", f"for {image}", file=file)
        elif second.error:
            report.add("partner-unreadable", second.error, file=file)
        else:
            if not first.error and first.seen_size != second.seen_size:
                found, wanted = second.seen_size, first.seen_size
                sizes = f"{found[0]} x {found[1]}, {image} is {wanted[0]} x {wanted[1]}"
                report.add("partner-size", sizes, file=file)
            for kind, detail in reading.second_notes(second):
                report.add(kind, detail, file=file)


def check_partner_use(entries: Sequence[dict], reading: Reading, report: Report) -> None:
    """Pairs that are read are there. No image is opened."""
    partners = partners_of(entries)
    if entries and reading.second and not partners:
        report.add("partner-unnamed", "LoadPairedImage stands in the pipeline")
    for image, file in partners:
        if not Path(file).is_file():
            report.add("partner-missing", f"for {image}", file=file)
