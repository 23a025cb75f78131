"""Grids per channel on tokens of three axes, which OpenVINO (2026.4) gets wrong.

FakeQuantize with numbers per channel on ``N x tokens x C`` takes them along another axis, or isn't compiled. As a part
of the linear layer before it, and with four axes, it is right.
"""

import openvino
import openvino.opset13 as ops
from openvino import Node

WRONG_RANK = 3


def give_four_axes(model: openvino.Model) -> None:
    """Let grids per channel on three axes run on four, in place."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize" and _is_wrong(node):
            readers = list(node.output(0).get_target_inputs())
            first = ops.constant([0])
            node.input(0).replace_source_output(ops.unsqueeze(node.input_value(0), first).output(0))
            node.validate_and_infer_types()
            three = ops.squeeze(node, first).output(0)
            for reader in readers:
                reader.replace_source_output(three)


def _is_wrong(quantize: Node) -> bool:
    rank = quantize.get_input_partial_shape(0).rank.get_length()
    bounds = [quantize.input_value(index).get_partial_shape() for index in (1, 2)]
    by_channel = any(bound.rank.get_length() > 0 and bound.get_max_shape()[-1] > 1 for bound in bounds)
    return rank == WRONG_RANK and by_channel and not _joins_linear(quantize)


def _joins_linear(quantize: Node) -> bool:
    """Whether only this quantization reads a linear layer, so that both run as one operation."""
    source = quantize.input_value(0)
    while source.get_node().get_type_name() == "Add" and len(source.get_target_inputs()) == 1:
        source = source.get_node().input_value(0)
    return source.get_node().get_type_name() == "MatMul" and len(source.get_target_inputs()) == 1
