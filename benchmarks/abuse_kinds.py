"""The kinds of abuse that ``abuse.py`` tries."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from abuse_attempt import Attempt
from abuse_files import of_checkpoint, of_picture, of_quantized, of_signed
from abuse_full_disk import of_full_disk
from abuse_kills import of_kills
from abuse_networks import of_networks
from abuse_processes import of_two_processes
from abuse_threads import of_threads

Kinds = Mapping[str, Callable[[Path], Attempt]]

DAMAGED: Kinds = {
    "quantized file": of_quantized,
    "quantized file, checksum made to fit": of_signed,
    "checkpoint, .pt": partial(of_checkpoint, suffix=".pt"),
    "checkpoint, .safetensors": partial(of_checkpoint, suffix=".safetensors"),
    "picture": of_picture,
}
"""Files."""

KINDS: Kinds = {
    **DAMAGED,
    "random network, exact steps": partial(of_networks, exact=True),
    "random network, float functions": partial(of_networks, exact=False),
    "kill": of_kills,
    "full disk": of_full_disk,
    "two processes": of_two_processes,
    "eight threads": of_threads,
}


@contextmanager
def prepared(kind: str) -> Iterator[Attempt]:
    """The attempt of a kind, with a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield KINDS[kind](Path(folder))
