"""The kernels compile for an H100, which needs no GPU, and use its int8 instruction."""

import importlib.util

import pytest

from srquant.deploy.triton.kernels.configurations import CANDIDATES

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't installed")

POINTERS = {"first_sum": "*i32", "scale": "*fp32", "bias": "*fp32", "residual": "*fp32", "values": "*fp32"} | {
    "lower": "*fp32",
    "step": "*fp32",
    **dict.fromkeys(("source", "weight", "padded", "codes"), "*i8"),
}
INTEGERS = dict.fromkeys(("height", "width"), "i32")
EPILOGUE = {"sum_grid": None, "RELU": True, "SUM_LAST": 0, "LAST": 15, "SHIFT": 7, "MULTIPLY": True}
CHANNELS = dict.fromkeys(("C_IN", "C_OUT", "C_VALUES", "BLOCK_N", "BLOCK_K"), 64)


@pytest.mark.parametrize("configuration", [CANDIDATES[0], CANDIDATES[4]], ids=["tiles", "rows"])
def test_kernels_compile_for_an_h100(configuration, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from srquant.deploy.triton.kernels.by_rows import by_rows
    from srquant.deploy.triton.kernels.by_tiles import by_tiles

    kernel = by_rows if configuration.by_rows else by_tiles
    blocks = {"BLOCK_H": configuration.rows, "BLOCK_W": configuration.columns, "ZERO_PADDED": True}
    constants = EPILOGUE | CHANNELS | blocks
    types = POINTERS | INTEGERS | dict.fromkeys(constants, "constexpr")
    places = {name: (kernel.arg_names.index(name),) for name in types}
    source = ASTSource(
        kernel,
        {name: types[name] for name in kernel.arg_names},
        {places[name]: value for name, value in constants.items()},
        {places[name]: [["tt.divisibility", 16]] for name in POINTERS},
    )
    options = {"num_warps": configuration.warps, "num_stages": configuration.stages, "enable_fp_fusion": False}
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
    assert "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8" in code
    assert "fma.rn.f32" not in code
    assert "ld.local" not in code
