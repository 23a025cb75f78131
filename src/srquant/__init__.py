"""Quantize super-resolution networks to 2-8 bits and run them with integer arithmetic.

The names below are the public interface; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srquant.data.benchmark import BenchmarkSet
    from srquant.data.calibration import CalibrationSet
    from srquant.deploy.file.open_model import open_model, open_network
    from srquant.deploy.file.save_load import load, save
    from srquant.deploy.frozen.freeze import FrozenModel, freeze
    from srquant.deploy.onnx.model import save_onnx, to_onnx
    from srquant.deploy.openvino.model import save_openvino, to_openvino
    from srquant.errors import EngineError, InputError, SRQuantError
    from srquant.insertion.policy import LayerBits, Override, Policy
    from srquant.insertion.quantized_model import QuantizedModel
    from srquant.methods.registry import METHODS, Method
    from srquant.models.load import load_model
    from srquant.models.network import Network
    from srquant.models.wrap import wrap
    from srquant.upscale.engines.open_engine import open_engine
    from srquant.upscale.exported.open_exported import open_exported
    from srquant.upscale.exported.write import export_model
    from srquant.upscale.jobs.folder import upscale_folder
    from srquant.upscale.jobs.one_picture import upscale_file
    from srquant.upscale.tiles.upscale_tiles import upscale_array

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
    "export_model",
    "freeze",
    "load",
    "load_model",
    "open_engine",
    "open_exported",
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
    "deploy.file.save_load": ("load", "save"),
    "deploy.frozen.freeze": ("FrozenModel", "freeze"),
    "deploy.onnx.model": ("save_onnx", "to_onnx"),
    "deploy.file.open_model": ("open_model", "open_network"),
    "deploy.openvino.model": ("save_openvino", "to_openvino"),
    "errors": ("EngineError", "InputError", "SRQuantError"),
    "methods.registry": ("METHODS", "Method"),
    "models.load": ("load_model",),
    "models.network": ("Network",),
    "models.wrap": ("wrap",),
    "insertion.quantized_model": ("QuantizedModel",),
    "insertion.policy": ("LayerBits", "Override", "Policy"),
    "upscale.engines.open_engine": ("open_engine",),
    "upscale.exported.open_exported": ("open_exported",),
    "upscale.exported.write": ("export_model",),
    "upscale.jobs.folder": ("upscale_folder",),
    "upscale.jobs.one_picture": ("upscale_file",),
    "upscale.tiles.upscale_tiles": ("upscale_array",),
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
