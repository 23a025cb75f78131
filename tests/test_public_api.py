"""The public names are a promise; importing the package stays quick."""

import subprocess
import sys

import pytest

import srquant


def test_public_names():
    assert set(srquant.__all__) == {
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
    }


@pytest.mark.parametrize("name", srquant.__all__)
def test_public_name_is_what_its_module_defines(name):
    value = getattr(srquant, name)
    assert name in dir(srquant)
    if hasattr(value, "__name__"):
        assert value.__name__ == name


def test_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = srquant.quantise


@pytest.mark.parametrize("module", ["srquant", "srquant.cli", "srquant.measure.speed.worker"])
def test_import_is_light(module):
    code = f"import sys, {module}; print(*{{'torch', 'openvino', 'onnxruntime', 'scipy', 'pyvips'}} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
