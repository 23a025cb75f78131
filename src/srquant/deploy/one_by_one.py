"""Batches for models that take one picture at a time."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]


def one_by_one(run: Callable[[Images], Images], images: Images, one: bool) -> Images:
    """Run a batch ``N x 3 x H x W``, or each of its pictures as a batch of its own.

    Args:
        run: the model.
        images: the batch.
        one: whether the model takes one picture at a time.
    """
    if not one or len(images) == 1:
        return run(images)
    return np.concatenate([run(images[number : number + 1]) for number in range(len(images))])
