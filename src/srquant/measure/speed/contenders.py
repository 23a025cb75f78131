"""A model and its rivals, exported for ``srquant.measure.speed.race``."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyvips
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.onnx.model import save_onnx, to_onnx
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.insertion.branched_network import NAMES, BranchedNetwork
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.measure.speed.race import Contender
from srquant.methods.registry import METHODS
from srquant.models.load import float_form
from srquant.models.network import Network

NOISE_PICTURES, NOISE_SIDE = 4, 64


def contenders(model: Network | FrozenModel, folder: Path) -> list[Contender]:
    """Everything that can run a model: float engines, ONNX Runtime's own int8, and our integer form.

    A float model gets its integer form from plain 8-bit min-max ranges on noise, with a float and an 8-bit skip
    stream; a quantized one keeps its own, and its float rivals have random weights. Speed depends on neither.

    Args:
        model: as opened; left unchanged.
        folder: where the exported files go.

    Raises:
        EngineError: a part of the network has no form in an engine.
    """
    network = float_form(model.network) if isinstance(model, FrozenModel) else model
    rows = float_contenders(network, folder)
    rows.append(Contender("onnxruntime-static", "int8", "onnxruntime", static_int8(rows[-1].path, folder)))
    if isinstance(model, FrozenModel):
        return rows + quantized_contenders(model.network, folder)
    pictures = write_noise(folder / "noise")
    skips: dict[str, Literal[8] | None] = {"openvino": None, "openvino-skip8": 8}
    integer = {name: quantize_plainly(network, pictures, skip) for name, skip in skips.items()}
    return rows + [integer_contender(name, quantized, folder) for name, quantized in integer.items()]


def float_contenders(network: Network, folder: Path) -> list[Contender]:
    """PyTorch, OpenVINO and ONNX Runtime in float32."""
    pickled, xml, onnx_file = (folder / f"float32{suffix}" for suffix in (".pt", ".xml", ".onnx"))
    torch.save(network.eval(), pickled)
    save_openvino(to_openvino(network), xml)
    save_onnx(to_onnx(network), onnx_file)
    return [
        Contender("torch", "float32", "torch", pickled),
        Contender("openvino", "float32", "openvino", xml),
        Contender("onnxruntime", "float32", "onnxruntime", onnx_file),
    ]


def integer_contender(name: str, network: Network, folder: Path) -> Contender:
    """A frozen network in OpenVINO."""
    path = folder / f"{name}.xml"
    save_openvino(to_openvino(network), path)
    return Contender(name, precision_of(network), "openvino", path)


def precision_of(network: Network) -> str:
    """``int8``; with dynamic ranges, which no engine has in integers, ``float32`` or ``mixed``."""
    dynamic = {layer.ranges == "dynamic" for layer in layer_summaries(network) if layer.ranges}
    return "mixed" if len(dynamic) > 1 else "float32" if dynamic == {True} else "int8"


def quantized_contenders(network: Network, folder: Path) -> list[Contender]:
    """A frozen network in OpenVINO, or each of its branches."""
    if not isinstance(network, BranchedNetwork):
        return [integer_contender("openvino", network, folder)]
    return [integer_contender(f"openvino-{NAMES[bits]}", part, folder) for bits, part in network.branches.items()]


def quantize_plainly(network: Network, pictures: Path, skip_bits: Literal[8] | None) -> Network:
    """Every layer in 8 bit, ranges from min-max."""
    policy = Policy(base=LayerBits(8, 8), skip_bits=skip_bits)
    calibration = CalibrationSet(pictures, count=NOISE_PICTURES, patch=NOISE_SIDE)
    return freeze(METHODS["minmax"].quantize(network, calibration, policy, METHODS["minmax"].config())).network


def static_int8(float_model: Path, folder: Path) -> Path:
    """ONNX Runtime's own static quantization: quantize-dequantize pairs, per-channel weights."""
    path = folder / "static_int8.onnx"
    logging.disable(logging.WARNING)  # it advises on the root logger
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
        """The next one, or None after the last."""
        image = next(self.pictures, None)
        return None if image is None else {"image": image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)}


def noise() -> Iterator[NDArray[np.uint8]]:
    """A few random pictures, ``64 x 64 x 3``."""
    random = np.random.default_rng(0)
    for _ in range(NOISE_PICTURES):
        yield random.integers(0, 256, (NOISE_SIDE, NOISE_SIDE, 3), np.uint8)


def write_noise(folder: Path) -> Path:
    """The same as files."""
    folder.mkdir()
    for i, image in enumerate(noise()):
        pyvips.Image.new_from_array(image, interpretation="srgb").write_to_file(str(folder / f"{i}.png"))
    return folder
