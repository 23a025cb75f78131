import json

import pytest

from srquant.deploy.openvino.float_precision import has_bfloat16

ROW_KEYS = {"engine", "precision", "median_ms", "min_ms", "max_ms", "peak_rss_mb"}


@pytest.mark.parametrize(
    ("kind", "integer_rows"),
    [("float", ["openvino", "openvino-skip8"]), ("quantized", ["openvino"])],
    ids=["float", "quantized"],
)
def test_json_rows(run, files, quantized, kind, integer_rows):
    model = files / "edsr.pt" if kind == "float" else quantized
    result = run("bench", model, "--input", "16x24", "--rounds", 2, "--threads", 1, "--json", "-")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value.keys() == {"rows", "input", "threads"}
    assert (value["input"], value["threads"]) == ([16, 24], 1)
    assert all(row.keys() == ROW_KEYS for row in value["rows"])
    assert [(row["engine"], row["precision"]) for row in value["rows"]] == [
        ("torch", "float32"),
        ("openvino", "float32"),
        *([("openvino", "bfloat16")] if has_bfloat16() else []),
        ("onnxruntime", "float32"),
        ("onnxruntime-static", "int8"),
        *((name, "int8") for name in integer_rows),
    ]
    for row in value["rows"]:
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"]
        assert row["peak_rss_mb"] > 20


def test_each_process_has_its_own_memory(run, files):
    """PyTorch alone is larger than ONNX Runtime alone."""
    value = json.loads(run("bench", files / "edsr.pt", "--input", "16x16", "--rounds", 1, "--json", "-").stdout)
    peaks = {row["engine"]: row["peak_rss_mb"] for row in value["rows"] if row["precision"] == "float32"}
    assert peaks["onnxruntime"] < peaks["torch"] - 50
