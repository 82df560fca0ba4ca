"""Pictures of a data set with its annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...structures.classes import Classes
from ...structures.samples import Mark, Sample
from ..legend import Entry
from ..objects import Line
from ..regions import with_ignored
from ..style import FAULTY
from .cells import Cell, class_cell, heat_cell, marks_cell, regions_cell
from .sheet import save_sheet

COLUMNS = 4
FAULTY_NOTE = Entry("faulty annotation", FAULTY, Line.DASHED)
CROWD_NOTE = Entry("crowd region", (90, 90, 90), Line.DOTTED)


def draw_contact_sheet(
    samples: Sequence[Sample], classes: Classes, file: str | Path, heading: str
) -> Path:
    """Write the samples in rows of `COLUMNS`, with boxes and masks, label maps or their classes.

    Objects whose annotation is faulty are red and dashed, crowd regions dotted.

    Raises:
        ValueError: no samples.
        OSError: the file cannot be written.
    """
    if not samples:
        raise ValueError("no samples to draw")
    marks: list[Mark] = []
    for sample in samples:
        marks += sample.marks
    notes = []
    if any(mark.faulty for mark in marks):
        notes.append(FAULTY_NOTE)
    # A faulty crowd region is drawn as faulty: dotted lines would be explained but not there.
    if any(mark.crowd and not mark.faulty for mark in marks):
        notes.append(CROWD_NOTE)
    cells = [_cell(sample, classes) for sample in samples]
    return save_sheet(Path(file), cells, with_ignored(classes), COLUMNS, heading, notes)


def _cell(sample: Sample, classes: Classes) -> Cell:
    if sample.labels is not None:
        return regions_cell(sample.title, sample.image, sample.labels, classes)
    if sample.saliency is not None:
        return heat_cell(sample.title, sample.image, sample.saliency)
    if sample.label is not None:
        title = f"{classes.names[sample.label]} · {sample.title}"
        return class_cell(title, sample.image, sample.label, classes)
    number = len(sample.marks)
    title = f"{sample.title} · {number} object{'' if number == 1 else 's'}"
    return marks_cell(title, sample.image, sample.marks, classes)
