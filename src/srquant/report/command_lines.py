"""The commands that make a quantized file again."""

import shlex

from srquant.deploy.frozen.freeze import FrozenModel
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.methods.options import text_of
from srquant.methods.registry import METHODS


def command_for(model: FrozenModel, start: str, output: str) -> str:
    """The command that made a model; what its file doesn't record stands as ``LR_PICTURES`` or ``HR_PICTURES``.

    Args:
        model: frozen.
        start: file of the float network.
        output: file of the quantized one.
    """
    name, policy = model.origin.method, model.policy
    verb = (
        ["quantize", start, "--method", name, "--calibration", "LR_PICTURES"]
        if name in METHODS
        else ["train", "--method", name, "--init", start, "--hr", "HR_PICTURES"]
    )
    changed = [part for option, value in _settings(model) for part in ("--set", f"{option}={value}")]
    return shlex.join(["srquant", *verb, *_bits(policy), *_grids(policy), *changed, "-o", output])


def _settings(model: FrozenModel) -> list[tuple[str, str]]:
    """Options that differ from the method's defaults."""
    method = METHODS.get(model.origin.method)
    defaults = vars(method.config()) if method else {}
    return [
        (name, text_of(value))
        for name, value in model.origin.options.items()
        if method is None or (name in defaults and text_of(value) != text_of(defaults[name]))
    ]


def _bits(policy: Policy) -> list[str]:
    given = ["-w", str(policy.base.weight), "-a", str(policy.base.activation)]
    for option, bits in (("--head-bits", policy.head), ("--tail-bits", policy.tail)):
        if bits != LayerBits(8, 8):
            given += [option, _text(bits)]
    if policy.skip_bits is not None:
        given += ["--skip-bits", str(policy.skip_bits)]
    return given + [part for override in policy.overrides for part in ("--override", _override(override))]


def _grids(policy: Policy) -> list[str]:
    grids = ["--granularity", policy.granularity, "--activation-granularity", policy.activation_granularity]
    return [*grids, "--layers", ",".join(policy.kinds)]


def _override(override: Override) -> str:
    return f"{override.pattern}={_text(override.bits)}"


def _text(bits: LayerBits | None) -> str:
    return "float" if bits is None else f"{bits.weight}/{bits.activation}"
