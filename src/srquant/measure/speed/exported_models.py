"""Export a model in all forms that are compared: float and integer, for each engine."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from srquant.data.calibration import CalibrationSet
from srquant.data.images import png_bytes
from srquant.deploy.float_form import float_form
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.onnx.model import save_onnx, to_onnx
from srquant.deploy.openvino.float_precision import has_bfloat16
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.devices import has_float64
from srquant.insertion.branched_network import NAMES, BranchedNetwork
from srquant.insertion.policy import LayerBits, LayerKind, Policy
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.measure.speed.time_models import ExportedModel
from srquant.methods.default_layer_kinds import LAYERS, LAYERS_AND_PRODUCTS, has_products
from srquant.methods.registry import METHODS
from srquant.models.network import Network

NOISE_PICTURES, NOISE_SIDE = 4, 64


def export_all(model: Network | FrozenModel, folder: Path) -> list[ExportedModel]:
    """Export a model for the float engines, as ONNX Runtime's own int8, and as srquant's integer network.

    A float model is quantized to 8 bits with min-max ranges of noise, once with float and once with 8-bit skip
    connections; in a network with attention also once with its matrix products. For a quantized model the float
    networks have random weights. Neither changes the speed.

    Args:
        model: from ``open_model``; left unchanged.
        folder: for the exported files.

    Raises:
        EngineError: a part of the network can't be exported to an engine.
    """
    network = float_form(model) if isinstance(model, FrozenModel) else model
    rows = export_float(network, folder)
    rows.append(ExportedModel("onnxruntime-static", "int8", "onnxruntime", static_int8(rows[-1].path, folder)))
    if isinstance(model, FrozenModel):
        return rows + export_quantized(model.network, folder)
    pictures = write_noise(folder / "noise")
    integer = {
        "openvino": quantize_to_8_bit(network, pictures, None),
        "openvino-skip8": quantize_to_8_bit(network, pictures, 8),
    }
    if has_products(network):
        integer["openvino-products"] = quantize_to_8_bit(network, pictures, None, LAYERS_AND_PRODUCTS)
    return rows + [export_integer(name, quantized, folder) for name, quantized in integer.items()]


def export_float(network: Network, folder: Path) -> list[ExportedModel]:
    """Export a float network for PyTorch, OpenVINO and ONNX Runtime: float32, in OpenVINO also bfloat16 if it can.

    The last one is the model for ONNX Runtime.
    """
    pickled, xml, onnx_file = (folder / f"float32{suffix}" for suffix in (".pt", ".xml", ".onnx"))
    torch.save(network.eval(), pickled)
    save_openvino(to_openvino(network), xml)
    save_onnx(to_onnx(network), onnx_file)
    bfloat16 = [ExportedModel("openvino", "bfloat16", "openvino-bf16", xml)] if has_bfloat16() else []
    return [
        ExportedModel("torch", "float32", "torch", pickled),
        ExportedModel("openvino", "float32", "openvino", xml),
        *bfloat16,
        ExportedModel("onnxruntime", "float32", "onnxruntime", onnx_file),
    ]


def export_for_device(model: Network | FrozenModel, device: str, folder: Path) -> list[ExportedModel]:
    """The model for PyTorch on a device: its float network in float32 and float16, and the quantized one if it runs.

    Args:
        model: from ``open_model``; left unchanged.
        device: another one than the CPU, such as ``cuda``.
        folder: for the files.
    """
    network = float_form(model) if isinstance(model, FrozenModel) else model
    networks = {"float32": copy.deepcopy(network).eval(), "float16": copy.deepcopy(network).eval().half()}
    if isinstance(model, FrozenModel) and has_float64(torch.device(device)):
        networks["int8"] = model.network
    for precision, exported in networks.items():
        torch.save(exported, folder / f"{device.replace(':', '_')}_{precision}.pt")
    return [
        ExportedModel(f"torch-{device}", name, "torch", folder / f"{device.replace(':', '_')}_{name}.pt", device)
        for name in networks
    ]


def export_integer(name: str, network: Network, folder: Path) -> ExportedModel:
    """Export a frozen network for OpenVINO."""
    path = folder / f"{name}.xml"
    save_openvino(to_openvino(network), path)
    return ExportedModel(name, precision_of(network), "openvino", path)


def precision_of(network: Network) -> str:
    """``int8``; ``float32`` if all, ``mixed`` if some layers have dynamic ranges, which no engine computes in int8."""
    dynamic = {layer.ranges == "dynamic" for layer in layer_summaries(network) if layer.ranges}
    return "mixed" if len(dynamic) > 1 else "float32" if dynamic == {True} else "int8"


def export_quantized(network: Network, folder: Path) -> list[ExportedModel]:
    """Export a frozen network, or each of its branches, for OpenVINO."""
    if not isinstance(network, BranchedNetwork):
        return [export_integer("openvino", network, folder)]
    return [export_integer(f"openvino-{NAMES[bits]}", part, folder) for bits, part in network.branches.items()]


def quantize_to_8_bit(
    network: Network, pictures: Path, skip_bits: Literal[8] | None, kinds: tuple[LayerKind, ...] = LAYERS
) -> Network:
    """Quantize every layer of these kinds to 8 bit with min-max ranges."""
    policy = Policy(base=LayerBits(8, 8), skip_bits=skip_bits, kinds=kinds)
    calibration = CalibrationSet(pictures, count=NOISE_PICTURES, patch=NOISE_SIDE)
    return freeze(METHODS["minmax"].quantize(network, calibration, policy, METHODS["minmax"].config())).network


def static_int8(float_model: Path, folder: Path) -> Path:
    """Quantize with ONNX Runtime's own static quantization: QDQ format, per-channel weights."""
    path = folder / "static_int8.onnx"
    logging.disable(logging.WARNING)  # hides ONNX Runtime's advice, which it writes to the root logger
    try:
        quantize_static(
            float_model,
            path,
            Noise(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
    return path


class Noise(CalibrationDataReader):  # type: ignore[misc]
    """Random pictures for ONNX Runtime's quantizer."""

    def __init__(self) -> None:
        self.pictures = noise()

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next picture, or None after the last."""
        image = next(self.pictures, None)
        return None if image is None else {"input": image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)}


def noise() -> Iterator[NDArray[np.uint8]]:
    """A few random pictures, ``64 x 64 x 3``."""
    random = np.random.default_rng(0)
    for _ in range(NOISE_PICTURES):
        yield random.integers(0, 256, (NOISE_SIDE, NOISE_SIDE, 3), np.uint8)


def write_noise(folder: Path) -> Path:
    """Write the pictures of ``noise`` as PNG files into a new folder."""
    folder.mkdir()
    for i, image in enumerate(noise()):
        (folder / f"{i}.png").write_bytes(png_bytes(image))
    return folder
