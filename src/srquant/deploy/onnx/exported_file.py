"""An ``.onnx`` file, ours or another tool's, that runs in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx

from srquant.deploy.export.record import KEY, TENSORRT
from srquant.deploy.layer_precision import LayerPrecision
from srquant.deploy.one_by_one import Images
from srquant.deploy.onnx.precision import layer_precisions
from srquant.deploy.onnx.session import Session
from srquant.errors import EngineError, ExportedFileError, first_line


class OnnxFile:
    """See ``upscale.exported.protocol``.

    Args:
        path: the ``.onnx``.
        threads: number of threads to compute with; all cores by default.

    Raises:
        ExportedFileError: the file is damaged, or the model has several inputs or outputs.
    """

    engine = "onnxruntime"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.files: tuple[Path, ...] = (path,)
        try:
            self.session = Session(str(path), threads)
            if TENSORRT in self.session.runtime.get_modelmeta().custom_metadata_map:
                self.session = Session(str(path), threads, joins=False)
        except Exception as error:  # ONNX Runtime's kinds of errors have no base of their own
            raise ExportedFileError(
                f"{path}: ONNX Runtime can't read it ({first_line(error):.200}); export it again"
            ) from error
        self.runtime = self.session.runtime
        inputs, outputs = len(self.runtime.get_inputs()), len(self.runtime.get_outputs())
        if (inputs, outputs) != (1, 1):
            raise ExportedFileError(
                f"{path} has {inputs} inputs and {outputs} outputs; "
                "export a network that makes one picture of one picture"
            )

    @property
    def record(self) -> str | None:
        """The text that ``Record.to_json`` gave; None in files of other tools."""
        text: str | None = self.runtime.get_modelmeta().custom_metadata_map.get(KEY)
        return text

    @property
    def input_type(self) -> str:
        """``float32``, or another type of numbers."""
        kind = str(self.runtime.get_inputs()[0].type)
        return "float32" if kind == "tensor(float)" else kind

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """Sizes of the input's axes, None where they may vary; None if even their number may vary."""
        shape = self.runtime.get_inputs()[0].shape
        return tuple(size if isinstance(size, int) else None for size in shape) or None

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for an input of this shape, found by running the model.

        Raises:
            EngineError: the model can't take it.
        """
        try:
            return self.session(np.full(shape, 0.5, np.float32)).shape
        except Exception as error:
            raise EngineError(f"{first_line(error):.200}") from error

    def __call__(self, images: Images) -> Images:
        """The output for ``N x 3 x H x W``, float32."""
        return self.session(images)

    def layer_precisions(self, side: int) -> list[LayerPrecision]:
        """In which precision each layer runs, for pictures of any side."""
        return layer_precisions(onnx.load(self.files[0]))
