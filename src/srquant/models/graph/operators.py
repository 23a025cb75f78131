"""PyTorch's operators that a file may name: without effects, and without randomness."""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from srquant.errors import InputError

Operator = Callable[..., Any]

ON_SIZES: dict[str, Operator] = {
    **{
        f"operator.{name}": getattr(operator, name)
        for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "truediv", "getitem")
    },
    **{f"math.{name}": getattr(math, name) for name in ("floor", "ceil", "trunc")},
    **{f"torch.{name}": getattr(torch, name) for name in ("sym_float", "sym_int", "sym_max", "sym_min")},
}
"""Python's on the sizes of pictures, and ``getitem`` on parts of lists."""

ON_TENSORS = """
    _native_batch_norm_legit_no_training.default _softmax.default _to_copy.default abs.default
    adaptive_avg_pool2d.default add.Scalar add.Tensor addmm.default alias.default amax.default amin.default
    any.default any.dim arange.default arange.start_step argmax.default argmin.default argsort.default atan2.default
    avg_pool2d.default bmm.default cat.default channel_shuffle.default clamp.default clamp.Tensor clamp_max.default
    clamp_min.default clone.default col2im.default constant_pad_nd.default convolution.default copy.default
    cos.default cumsum.default div.Scalar div.Tensor div.Tensor_mode elu.default embedding.default eq.Scalar
    eq.Tensor erf.default exp.default expand.default fill.Scalar flip.default floor.default full.default
    full_like.default gather.default ge.Scalar ge.Tensor gelu.default grid_sampler_2d.default gt.Scalar gt.Tensor
    hardsigmoid.default hardswish.default hardtanh.default im2col.default index.Tensor index_put.default
    index_select.default le.Scalar le.Tensor leaky_relu.default linalg_vector_norm.default log.default log1p.default
    logical_and.default logical_not.default logical_or.default lt.Scalar lt.Tensor masked_fill.Scalar max.dim
    max_pool2d.default max_pool2d_with_indices.default maximum.default mean.default mean.dim min.dim minimum.default
    mish.default mm.default mul.Scalar mul.Tensor native_group_norm.default native_layer_norm.default ne.Scalar
    ne.Tensor neg.default permute.default pixel_shuffle.default pixel_unshuffle.default pow.Scalar pow.Tensor_Scalar
    pow.Tensor_Tensor prelu.default reciprocal.default reflection_pad2d.default relu.default remainder.Scalar
    remainder.Tensor repeat.default replication_pad2d.default roll.default round.default rsqrt.default rsub.Scalar
    scalar_tensor.default scatter.src scatter.value select.int select_scatter.default sigmoid.default sign.default
    silu.default sin.default slice.Tensor slice_scatter.default softplus.default sort.default sort.stable
    split_with_sizes.default sqrt.default squeeze.dim squeeze.dims sub.Scalar sub.Tensor sum.default sum.dim_IntList
    sym_size.int tanh.default topk.default unsqueeze.default upsample_bicubic2d.vec upsample_bilinear2d.vec
    upsample_nearest2d.vec var.correction var.dim view.default where.self
"""
"""Names in the namespace ``aten``."""

ALLOWED = frozenset(ON_TENSORS.split())

NAMES = {function: name for name, function in ON_SIZES.items()}


def name_of(target: Any) -> str:
    """The name of an operator in a file.

    Raises:
        InputError: it isn't in the list.
    """
    name = NAMES.get(target) or str(target)
    if name in ON_SIZES or (name.startswith("aten.") and name.removeprefix("aten.") in ALLOWED):
        return name
    raise InputError(f"operator {name!r} can't be kept in a file: export the network to OpenVINO or ONNX instead")


def operator_of(name: str) -> Operator:
    """The operator of a name.

    Raises:
        InputError: it isn't in the list.
    """
    if name in ON_SIZES:
        return ON_SIZES[name]
    family, _, rest = name.partition(".")
    if family != "aten" or rest not in ALLOWED:
        raise InputError(f"graph: operator {name!r:.80} is not one that files may name")
    packet, _, overload = rest.partition(".")
    try:
        found: Operator = getattr(getattr(torch.ops.aten, packet), overload)
    except AttributeError as error:
        raise InputError(f"graph: this PyTorch, {torch.__version__}, has no operator {name!r}; update it") from error
    return found
