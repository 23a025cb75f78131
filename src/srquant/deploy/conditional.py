"""Kinds of quantizers that a file may hold beside fixed grids, by name."""

from collections.abc import Mapping

from srquant.errors import QuantizedFileError
from srquant.quant.conditional import ConditionalQuantizer, Setting
from srquant.quant.daq import DAQQuantizer
from srquant.quant.gated import GatedQuantizer
from srquant.quant.selection import SelectingQuantizer
from srquant.quant.table_quantizers import TableQuantizer

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
