"""Kinds of quantizers that a file may hold beside fixed grids, by name."""

from collections.abc import Mapping

from srquant.errors import QuantizedFileError
from srquant.methods.cabm.table_quantizer import TableQuantizer
from srquant.methods.cadyq.selector import SelectingQuantizer
from srquant.methods.daq.quantizer import DAQQuantizer
from srquant.methods.ddtb.gate import GatedQuantizer
from srquant.quantizers.by_picture import ConditionalQuantizer, Setting

KINDS: dict[str, type[ConditionalQuantizer]] = {
    kind.kind: kind for kind in (DAQQuantizer, GatedQuantizer, SelectingQuantizer, TableQuantizer)
}


def made(kind: type[ConditionalQuantizer], settings: Mapping[str, Setting]) -> ConditionalQuantizer:
    """A quantizer of a kind with the settings that a file gives.

    Raises:
        QuantizedFileError: the kind has no such settings.
    """
    try:
        return kind(**settings)  # type: ignore[arg-type]
    except (TypeError, ValueError, KeyError) as error:
        raise QuantizedFileError(f"quantizer {kind.kind!r} has impossible settings ({error})") from error
