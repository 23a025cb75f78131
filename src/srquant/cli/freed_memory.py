"""Keep freed memory in the process instead of giving it back to the system.

The GNU C library returns the memory of large tensors when they are freed. The next tensor then needs new pages, which
the system fills with zeros first. Learning frees and allocates the same sizes in every step.
"""

import ctypes
import os

SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": (-3, 2**25),
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
}
"""Environment variable; number of the setting in ``malloc.h``, and its value in bytes: the largest that is accepted."""


def keep_freed_memory() -> bool:
    """Set this for the process; returns whether it was done.

    Nothing happens with other C libraries, and where the user has set one of the environment variables.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(variable in os.environ for variable in SETTINGS):
        return False
    return all(mallopt(number, value) == 1 for number, value in SETTINGS.values())
