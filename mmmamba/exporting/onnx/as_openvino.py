"""What OpenVINO reads out of an ONNX model otherwise than ONNX means it."""

from typing import Any

import numpy as np


def keep_meanings(model: Any) -> None:
    """Give an `openvino.Model` ONNX's order of equal scores, and its limit of overlaps.

    `TopK` takes the first of equal numbers first in ONNX, any of them in OpenVINO;
    `NonMaxSuppression` leaves two boxes that overlap by exactly the threshold, in OpenVINO one.
    """
    from openvino import opset13

    for node in model.get_ops():
        if node.get_type_name() == "TopK":
            node.set_attribute("stable", True)
        elif node.get_type_name() == "NonMaxSuppression":
            limit = node.input_value(3).get_node()
            if limit.get_type_name() == "Constant":
                above = np.nextafter(limit.get_data(), np.float32(np.inf))
                node.input(3).replace_source_output(opset13.constant(above).output(0))
