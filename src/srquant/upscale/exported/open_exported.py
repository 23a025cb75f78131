"""Open an exported model: in its engine, with the facts that it holds, or that are found out."""

from dataclasses import replace
from pathlib import Path

from srquant.deploy.export.record import Record, read_record
from srquant.deploy.openvino.float_precision import FloatPrecision
from srquant.errors import EngineError, ExportedFileError, InputError
from srquant.models.checkpoint import is_exported
from srquant.models.network import Facts
from srquant.upscale.exported.exported_engine import ExportedEngine
from srquant.upscale.exported.file_kind import check_kind
from srquant.upscale.exported.foreign import facts_and_tiling, scale_of
from srquant.upscale.exported.one_size import fixed_side, in_tiles_of
from srquant.upscale.exported.protocol import ExportedFile
from srquant.upscale.exported.sizes import small_side
from srquant.upscale.tiles.tiling import Tiling

AUTO = "auto"


def open_exported(
    path: Path, engine: str = AUTO, threads: int | None = None, float_precision: FloatPrecision = "f32"
) -> ExportedEngine:
    """Open an exported model, ours or another tool's, in the engine for its format.

    Args:
        path: ``.xml`` (OpenVINO; the ``.bin`` lies beside it) or ``.onnx`` (ONNX Runtime). A model of another tool must
            take ``N x 3 x H x W`` RGB in [0, 1], float32.
        engine: ``auto``, or the name of that engine.
        threads: number of threads to compute with; all cores by default.
        float_precision: of what isn't quantized, in OpenVINO.

    Returns:
        It computes what the engine computes that is opened with the network itself.

    Raises:
        ExportedFileError: no such file, damaged, or not a network that upscales RGB pictures.
        InputError: another engine, or a precision that the file's engine doesn't know.
        EngineError: the engine isn't installed.
    """
    check_kind(path)
    if not is_exported(path):
        raise ExportedFileError(f"{path} has not the suffix of an exported model, .xml or .onnx; give one of these")
    file = open_file(path, engine, threads, float_precision)
    check_input(file)
    if file.record is None:
        return ExportedEngine(file, *facts_and_tiling(file), None)
    try:
        record = read_record(file.record)
    except ExportedFileError as error:
        raise ExportedFileError(f"{path}: {error}; export it again") from error
    facts, tiling = facts_of(record), tiling_of(record)
    fixed = fixed_side(file)
    if fixed is not None:
        facts, tiling = replace(facts, smallest=fixed), in_tiles_of(fixed, tiling)
    check_scale(file, facts)
    return ExportedEngine(file, facts, tiling, record)


def open_file(path: Path, engine: str, threads: int | None, float_precision: FloatPrecision) -> ExportedFile:
    """The file in the engine for its suffix; errors as ``open_exported``."""
    name = "openvino" if path.suffix.lower() == ".xml" else "onnxruntime"
    if engine not in (AUTO, name):
        raise InputError(f"--engine {engine}: {path} runs in {name} only; use --engine {name} or auto")
    if name != "openvino" and float_precision != "f32":
        raise InputError(f"--float-precision {float_precision}: {path} runs in {name}; export to .xml, or leave it out")
    try:
        return openvino_file(path, threads, float_precision) if name == "openvino" else onnx_file(path, threads)
    except ImportError as error:
        raise EngineError(f"engine {name} can't be loaded ({error}); install it to run {path}") from error


def openvino_file(path: Path, threads: int | None, float_precision: FloatPrecision) -> ExportedFile:
    """An ``.xml``; imports OpenVINO."""
    from srquant.deploy.openvino.exported_file import OpenVINOFile

    return OpenVINOFile(path, threads, float_precision)


def onnx_file(path: Path, threads: int | None) -> ExportedFile:
    """An ``.onnx``; imports ONNX Runtime."""
    from srquant.deploy.onnx.exported_file import OnnxFile

    return OnnxFile(path, threads)


def check_input(file: ExportedFile) -> None:
    """Raise an ``ExportedFileError`` unless the model takes float32 RGB pictures, the channels first."""
    shape, need = file.input_shape, "need N x 3 x H x W"
    fits = shape is None or (len(shape) == 4 and shape[0] in (1, None) and (shape[1] == 3 or shape[1:] == (None,) * 3))
    if file.input_type != "float32":
        raise ExportedFileError(f"{file.files[0]} takes {file.input_type}, need float32; export it with float32 inputs")
    if not fits:
        sizes = " x ".join("any" if size is None else str(size) for size in shape or ())
        raise ExportedFileError(f"{file.files[0]} takes {sizes}, {need}; export a network for RGB, the channels first")


def check_scale(file: ExportedFile, facts: Facts) -> None:
    """Raise an ``ExportedFileError`` unless the model upscales by what its record says."""
    side = small_side(facts)
    scale = scale_of(file, side, side)
    if scale != facts.scale:
        raise ExportedFileError(
            f"{file.files[0]} upscales by {scale}, but says {facts.scale} of itself; export it again"
        )


def facts_of(record: Record) -> Facts:
    """What other code must know about the network."""
    return Facts(
        record.architecture,
        record.scale,
        1.0,
        (),
        (),
        tiles_exactly=record.tiles_exact,
        smallest=record.smallest,
        multiple_of=record.multiple_of,
    )


def tiling_of(record: Record) -> Tiling:
    """How the network is tiled."""
    return Tiling(record.overlap, record.alignment, record.bytes_per_pixel, record.tiles_exact)
