"""An ``.xml`` file, ours or another tool's, that runs in OpenVINO."""

from pathlib import Path

import openvino

from srquant.deploy.export.record import KEY, WEIGHTS
from srquant.deploy.layer_precision import LayerPrecision
from srquant.deploy.one_by_one import Images
from srquant.deploy.openvino.float_precision import FloatPrecision, engine_name
from srquant.deploy.openvino.precision import layer_precisions
from srquant.deploy.openvino.session import Session
from srquant.errors import EngineError, ExportedFileError
from srquant.files import file_digest


class OpenVINOFile:
    """See ``upscale.exported.protocol``.

    Args:
        path: the ``.xml``; the ``.bin`` lies beside it.
        threads: number of threads to compute with; all cores by default.
        float_precision: of what isn't quantized.

    Raises:
        ExportedFileError: a file is missing or damaged, or the model has several inputs or outputs.
    """

    def __init__(self, path: Path, threads: int | None = None, float_precision: FloatPrecision = "f32") -> None:
        self.engine, self.float_precision = engine_name(float_precision), float_precision
        weights = path.with_suffix(".bin")
        self.files: tuple[Path, ...] = (path, weights)
        if not weights.is_file():
            raise ExportedFileError(f"{path}: its weights are missing; copy {weights.name} to the same folder too")
        try:
            self.model = openvino.Core().read_model(path)
        except RuntimeError as error:
            raise ExportedFileError(f"{path}: OpenVINO can't read it ({reason(error)}); export it again") from error
        if self.text(WEIGHTS) not in (None, file_digest(weights)):
            raise ExportedFileError(f"{path}: the weights in {weights.name} are another model's; export it again")
        if (len(self.model.inputs), len(self.model.outputs)) != (1, 1):
            raise ExportedFileError(
                f"{path} has {len(self.model.inputs)} inputs and {len(self.model.outputs)} outputs; "
                "export a network that makes one picture of one picture"
            )
        self.session = Session(self.model, threads, float_precision)

    @property
    def record(self) -> str | None:
        """The text that ``Record.to_json`` gave; None in files of other tools."""
        return self.text(KEY)

    def text(self, key: str) -> str | None:
        """What the file holds under a key of its ``rt_info``; None for nothing."""
        return str(self.model.get_rt_info(key).astype(str)) if self.model.has_rt_info(key) else None

    @property
    def input_type(self) -> str:
        """``float32``, or another type of numbers."""
        return str(self.model.input(0).element_type.to_string()).replace("f32", "float32")

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """Sizes of the input's axes, None where they may vary; None if even their number may vary."""
        shape = self.model.input(0).partial_shape
        return None if shape.rank.is_dynamic else tuple(size.get_length() if size.is_static else None for size in shape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for an input of this shape; nothing is computed.

        Raises:
            EngineError: the model can't take it.
        """
        model = self.model.clone()
        try:
            model.reshape(list(shape))
            return tuple(model.output(0).shape)
        except RuntimeError as error:
            raise EngineError(reason(error)) from error

    def __call__(self, images: Images) -> Images:
        """The output for ``N x 3 x H x W``, float32."""
        return self.session(images)

    def layer_precisions(self, side: int) -> list[LayerPrecision]:
        """In which precision each layer runs, for pictures of this side."""
        return layer_precisions(self.model, side, self.float_precision)


def reason(error: Exception) -> str:
    """The last line of OpenVINO's message, which says what is wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
