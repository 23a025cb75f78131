"""``--device``, ``--precision``, ``--compile``, ``--float-precision``: bad values end before anything is read."""

import pytest
import torch

from srquant.deploy.openvino import float_precision

HAS_BFLOAT16 = pytest.mark.skipif(not float_precision.has_bfloat16(), reason="this processor has no bfloat16")


@pytest.fixture
def commands(files, calibration, tmp_path):
    out = tmp_path / "out.safetensors"
    return {
        "quantize": (files / "edsr.pt", *calibration, "-o", out),
        "evaluate": (files / "edsr.pt", "--data", files / "Tiny"),
        "upscale": (files / "edsr.pt", files / "Tiny", "-o", tmp_path / "large"),
        "bench": (files / "edsr.pt", "--input", "16x16"),
        "train": (
            "--method",
            "float",
            "--init",
            files / "edsr.pt",
            "--hr",
            files / "Tiny" / "HR",
            "-o",
            tmp_path / "run",
        ),
    }


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("command", ["quantize", "evaluate", "upscale", "bench", "train"])
@pytest.mark.parametrize(
    ("name", "says"),
    [("gpu", "use auto, cpu, cuda, cuda:N or mps; this machine has cpu"), ("cuda", "no such device, only cpu")],
)
def test_devices_that_do_not_exist(run, commands, no_gpu, tmp_path, command, name, says):
    result = run(command, *commands[command], "--device", name)
    assert result.exit_code == 2
    assert f"--device {name}: " in result.stderr
    assert says in result.stderr
    assert not list(tmp_path.glob("out*")) + list(tmp_path.glob("run*")) + list(tmp_path.glob("large*"))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_of_the_cpu(run, commands, monkeypatch, engine):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    result = run("evaluate", *commands["evaluate"], "--engine", engine, "--device", "cuda")
    assert result.exit_code == 2
    assert f"--device cuda: engine {engine} computes on the CPU in float32; use --engine torch or auto" in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--precision", "64"), "--precision 64: use auto, 32, 16, bf16"),
        (("--precision", "16", "--engine", "openvino"), "--precision 16: engine openvino computes on the CPU"),
        (("--compile", "--engine", "onnxruntime"), "--compile: engine onnxruntime computes on the CPU"),
        (("--float-precision", "f16"), "--float-precision f16: use f32 or bf16"),
    ],
)
def test_precisions_and_engines_that_do_not_fit(run, commands, options, says):
    result = run("upscale", *commands["upscale"], *options)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(("option", "says"), [(("--precision", "16"), "exact results"), (("--compile",), "only float")])
def test_quantized_networks_have_one_form(run, files, quantized, option, says):
    result = run("evaluate", quantized, "--data", files / "Tiny", *option)
    assert result.exit_code == 2
    assert says in result.stderr


def test_float16(run, files):
    result = run("evaluate", files / "edsr.pt", "--data", files / "Tiny", "--precision", "16", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "torch float16" in result.stdout


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "triton"])
def test_only_openvino_has_a_float_precision(run, commands, monkeypatch, engine):
    monkeypatch.setattr(float_precision, "has_bfloat16", lambda: True)
    result = run("upscale", *commands["upscale"], "--float-precision", "bf16", "--engine", engine)
    assert result.exit_code == 2
    assert f"--float-precision bf16: only engine openvino on the CPU knows it, not {engine}" in result.stderr


def test_processors_without_bfloat16(run, commands, monkeypatch):
    monkeypatch.setattr(float_precision, "has_bfloat16", lambda: False)
    result = run("evaluate", *commands["evaluate"], "--float-precision", "bf16")
    assert result.exit_code == 2
    assert "--float-precision bf16: this processor doesn't compute in bfloat16; use f32" in result.stderr


@HAS_BFLOAT16
def test_bfloat16_in_openvino(run, files):
    result = run("evaluate", files / "edsr.pt", "--data", files / "Tiny", "--float-precision", "bf16")
    assert result.exit_code == 0, result.output
    assert "openvino bfloat16" in result.stdout


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_threads_are_pytorchs_too(run, files, engine):
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        result = run("evaluate", files / "edsr.pt", "--data", files / "Tiny", "--engine", engine, "--threads", before)
        assert (result.exit_code, torch.get_num_threads()) == (0, before)
    finally:
        torch.set_num_threads(before)
