"""Quantize super-resolution networks to 2-8 bits and run them with integer arithmetic.

The names below are the public interface; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srquant.data.benchmark import BenchmarkSet
    from srquant.data.calibration import CalibrationSet
    from srquant.deploy.file import load, save
    from srquant.deploy.freeze import FrozenModel, freeze
    from srquant.deploy.onnx import save_onnx, to_onnx
    from srquant.deploy.opening import open_model, open_network
    from srquant.deploy.openvino import save_openvino, to_openvino
    from srquant.errors import EngineError, InputError, SRQuantError
    from srquant.methods import METHODS, Method
    from srquant.models.load import load_model
    from srquant.models.network import Network
    from srquant.models.wrap import wrap
    from srquant.quant.model import QuantizedModel
    from srquant.quant.policy import LayerBits, Override, Policy
    from srquant.upscale.engines import open_engine
    from srquant.upscale.folder import upscale_folder
    from srquant.upscale.picture import upscale_file
    from srquant.upscale.tiles import upscale_array

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "BenchmarkSet",
    "CalibrationSet",
    "EngineError",
    "FrozenModel",
    "InputError",
    "LayerBits",
    "Method",
    "Network",
    "Override",
    "Policy",
    "QuantizedModel",
    "SRQuantError",
    "freeze",
    "load",
    "load_model",
    "open_engine",
    "open_model",
    "open_network",
    "save",
    "save_onnx",
    "save_openvino",
    "to_onnx",
    "to_openvino",
    "upscale_array",
    "upscale_file",
    "upscale_folder",
    "wrap",
]

_HOMES = {
    "data.benchmark": ("BenchmarkSet",),
    "data.calibration": ("CalibrationSet",),
    "deploy.file": ("load", "save"),
    "deploy.freeze": ("FrozenModel", "freeze"),
    "deploy.onnx": ("save_onnx", "to_onnx"),
    "deploy.opening": ("open_model", "open_network"),
    "deploy.openvino": ("save_openvino", "to_openvino"),
    "errors": ("EngineError", "InputError", "SRQuantError"),
    "methods": ("METHODS", "Method"),
    "models.load": ("load_model",),
    "models.network": ("Network",),
    "models.wrap": ("wrap",),
    "quant.model": ("QuantizedModel",),
    "quant.policy": ("LayerBits", "Override", "Policy"),
    "upscale.engines": ("open_engine",),
    "upscale.folder": ("upscale_folder",),
    "upscale.picture": ("upscale_file",),
    "upscale.tiles": ("upscale_array",),
}


def __getattr__(name: str) -> object:
    """Import a public name."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"srquant.{module}"), name)
    raise AttributeError(f"module 'srquant' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
