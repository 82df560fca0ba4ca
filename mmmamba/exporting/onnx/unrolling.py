"""Loops written out, for a runtime whose loops are slow.

A turn of OpenVINO's loop copies what it reads, its state and what it gives; written out, none is
copied: parts of a tensor are read where they lie, and results are written where they are joined.
VMamba-T takes 0.9 of the time so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .editing import Editor

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 2048
"""Nodes that a loop may become."""
MOST = 12288
"""Nodes that all loops together may become: a runtime takes seconds to compile so many."""


def unroll(model: ir.Model) -> int:
    """Write out the loops whose number of turns is known, the shortest first; how many were."""
    sizes = {node: _size(node) for node in model.graph if node.op_type == "Scan"}
    left, done = MOST, 0
    for node, size in sorted(sizes.items(), key=lambda item: item[1] or 0):
        if size is None or size > min(LARGEST, left):
            continue
        _write_out(Editor(model.graph, f"loop{done}", node), node)
        left -= size
        done += 1
    return done


def _size(scan: ir.Node) -> int | None:
    """Nodes that it becomes; None where that is not known, or it does not go forwards by rows."""
    directions = ("scan_input_directions", "scan_output_directions")
    axes = ("scan_input_axes", "scan_output_axes")
    for name in directions + axes:
        if name in scan.attributes and any(scan.attributes[name].as_ints()):
            return None
    turns = _turns(scan)
    return None if turns is None else turns * len(scan.attributes["body"].as_graph())


def _states(scan: ir.Node) -> int:
    return len(scan.inputs) - scan.attributes["num_scan_inputs"].as_int()


def _turns(scan: ir.Node) -> int | None:
    first = scan.inputs[_states(scan)]
    turns = None if first is None or first.shape is None else first.shape[0]
    return turns if isinstance(turns, int) else None


def _write_out(editor: Editor, scan: ir.Node) -> None:
    body, count, turns = scan.attributes["body"].as_graph(), _states(scan), _turns(scan)
    assert turns is not None
    zero = editor.constant("axis_0", np.array([0]))
    ones = editor.constant(f"ones_{turns}", np.ones(turns, np.int64))
    parts = []
    for value in scan.inputs[count:]:
        split = editor.add_all("Split", [value, ones], turns, axis=0)
        parts.append([editor.add("Squeeze", [one, zero]) for one in split])
    states = [value for value in scan.inputs[:count] if value is not None]
    given: list[list[ir.Value]] = [[] for _ in scan.outputs[count:]]
    for turn in range(turns):
        known = dict(zip(body.inputs, [*states, *(part[turn] for part in parts)]))
        for node in body:
            # What a body reads from outside is not among the values known in it.
            read = [value and known.get(value, value) for value in node.inputs]
            known.update(zip(node.outputs, editor.copy(node, read)))
        results = [known.get(value, value) for value in body.outputs]
        states = results[:count]
        for kept, value in zip(given, results[count:]):
            kept.append(editor.add("Unsqueeze", [value, zero]))
    joined = [editor.add("Concat", kept, axis=0) for kept in given]
    editor.replace(scan, [*states, *joined])
