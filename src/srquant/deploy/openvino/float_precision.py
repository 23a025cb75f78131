"""The numbers that OpenVINO computes with where nothing is quantized, as options for compiling. Needs no PyTorch."""

from typing import Any, Literal

from srquant.errors import EngineError, InputError

FloatPrecision = Literal["f32", "bf16"]
"""float32, as srquant evaluates networks; bfloat16, OpenVINO's own default on processors that have it."""

NAMES: dict[FloatPrecision, str] = {"f32": "float32", "bf16": "bfloat16"}
"""Names in tables."""


def cpu_options(precision: FloatPrecision = "f32") -> dict[str, Any]:
    """Options of ``openvino.compile_model`` for the CPU.

    Without the hint, processors with bfloat16 compute float layers in it, which changes the codes of the next ones.
    """
    return {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def check_float_precision(precision: str) -> FloatPrecision:
    """The value of ``--float-precision``.

    Raises:
        InputError: another word.
        EngineError: this processor doesn't have it.
    """
    if precision == "f32":
        return "f32"
    if precision != "bf16":
        raise InputError(f"--float-precision {precision}: use {' or '.join(NAMES)}")
    if not has_bfloat16():
        raise EngineError("--float-precision bf16: this processor doesn't compute in bfloat16; use f32")
    return "bf16"


def engine_name(precision: FloatPrecision) -> str:
    """``openvino``, and the precision if it isn't float32."""
    return "openvino" if precision == "f32" else f"openvino {NAMES[precision]}"
