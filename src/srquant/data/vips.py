"""pyvips, or a stand-in that says that Pillow is used instead.

pyvips needs the library libvips and a matching cffi. Where one of them is missing or doesn't fit, importing pyvips
fails with errors of many types.
"""

import logging
from types import SimpleNamespace
from typing import Any


class NoVipsError(Exception):
    """Stands for ``pyvips.Error``; never raised."""


try:
    import pyvips as pyvips
except Exception as error:  # cffi's errors and missing libraries have no common base
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    logging.getLogger("srquant").warning(
        f"pyvips can't be loaded ({reason}): pictures are read and written by Pillow, 8-bit gray and RGB only"
    )
    pyvips = SimpleNamespace(Image=Any, Source=Any, Error=NoVipsError)
    WORKS = False
else:
    WORKS = True
