"""Read the values of the options that choose a method, its options, bits and layers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_type_hints

from srquant.errors import PolicyError, suggest

if TYPE_CHECKING:
    from srquant.insertion.policy import Granularity, LayerBits, LayerKind, Override
    from srquant.methods.registry import Method
    from srquant.methods.trained_registry import TrainedMethod
    from srquant.models.network import Network

FLOAT = ("0", "float")
"""Values by which the user keeps something float."""

AUTO = "auto"


def find_method(name: str) -> "Method[Any]":
    """The method called ``name``.

    Raises:
        PolicyError: there is none.
    """
    from srquant.methods.registry import METHODS
    from srquant.methods.trained_registry import TRAINED

    if name in TRAINED:
        raise PolicyError(
            f"{name} trains weights: use srquant train --method {name}; methods of srquant quantize: "
            f"{', '.join(METHODS)}"
        )
    if name not in METHODS:
        raise PolicyError(f"no method is called {name!r}; {suggest(name, METHODS)}")
    return METHODS[name]


def method_config(method: "Method[Any]", finetune: bool, recipe: str | None, settings: list[str]) -> Any:
    """The method's options: defaults, changed by ``--finetune`` and ``--recipe``, then by ``--set``.

    Raises:
        PolicyError: no such option or value, or ``--finetune`` for a method that doesn't have it.
    """
    from srquant.methods.options import configure

    if recipe is not None and not finetune:
        raise PolicyError(f"--recipe {recipe} has no effect without --finetune: add --finetune, or leave --recipe out")
    if not finetune:
        return configure(method.config, settings)
    known = recipes(method)
    if not known:
        raise PolicyError(
            f"--finetune is only for methods that find ranges and nothing else; {method.name} trains by itself: leave "
            f"it out; 'srquant methods {method.name}' shows its options"
        )
    chosen = recipe or known[0]
    if chosen not in known:
        raise PolicyError(f"no recipe is called {chosen!r}; {suggest(chosen, known)}")
    return configure(method.config, [f"finetune={chosen}", *settings])


def effort_setting(effort: str | None, method: "Method[Any]") -> list[str]:
    """``--effort`` as a setting of the method's options; empty where it isn't given.

    Raises:
        PolicyError: the method has no efforts.
    """
    if effort is None:
        return []
    if "effort" not in get_type_hints(method.config):
        raise PolicyError(f"--effort {effort} is only for auto and distill, not for {method.name}: leave it out")
    return [f"effort={effort}"]


def grids_setting(texts: Iterable[str], method: "Method[Any]") -> list[str]:
    """No comparison of grids where the command line names one, as a setting of the method's options."""
    is_named = any(text != AUTO for text in texts)
    return ["compare_grids=false"] if is_named and "compare_grids" in get_type_hints(method.config) else []


def grids(text: str, method: "Method[Any]") -> "Granularity":
    """Whether grids are per tensor or per channel; ``auto``: the method's default.

    Raises:
        PolicyError: another text.
    """
    if text == AUTO:
        return method.granularity
    if text not in ("tensor", "channel"):
        raise PolicyError(f"granularity {text}: use tensor, channel or auto")
    return cast("Granularity", text)


def recipes(method: "Method[Any]") -> list[str]:
    """Names of the finetuning recipes of a range method; empty for other methods."""
    from srquant.methods.ranges.pipeline import Recipe

    is_range_method = get_type_hints(method.config).get("finetune") == Recipe
    return [name for name in get_args(Recipe) if name != "none"] if is_range_method else []


def layer_kinds(text: str, method: "Method[Any] | TrainedMethod[Any]", network: "Network") -> "tuple[LayerKind, ...]":
    """Kinds of layers from text such as ``conv,linear``; ``auto``: the method's default for this network.

    Raises:
        PolicyError: an unknown kind.
    """
    from srquant.insertion.policy import LAYER_KINDS
    from srquant.methods.default_layer_kinds import default_layer_kinds

    if text == AUTO:
        return default_layer_kinds(method, network)
    kinds = tuple(text.split(","))
    for kind in kinds:
        if kind not in LAYER_KINDS:
            raise PolicyError(
                f"--layers {text}: no kind of layer is called {kind!r}; {suggest(kind, [*LAYER_KINDS, AUTO])}"
            )
    return cast("tuple[LayerKind, ...]", kinds)


def layer_bits(what: str, text: str) -> "LayerBits | None":
    """Bits from ``8``, ``4/8`` (weights/activations), or ``float``.

    Raises:
        PolicyError: the text has another form.
    """
    from srquant.insertion.policy import LayerBits

    if text in FLOAT:
        return None
    weight, slash, activation = text.partition("/")
    activation = activation if slash else weight
    if not (weight.isdecimal() and activation.isdecimal()):
        raise PolicyError(f"{what} {text}: give bits such as 8 or 4/8 (weights/activations), or float")
    return LayerBits(int(weight), int(activation))


def skip_bits_of(text: str) -> Literal[8] | None:
    """Bits of the sums of skip connections.

    Raises:
        PolicyError: neither 8 nor float.
    """
    if text in FLOAT:
        return None
    if text != "8":
        raise PolicyError(f"--skip-bits {text}: give float or 8")
    return 8


def parse_override(text: str) -> "Override":
    """An override from text such as ``body.3.*=4/8``.

    Raises:
        PolicyError: the text has another form.
    """
    from srquant.insertion.policy import Override

    pattern, equals, bits = text.rpartition("=")
    if not equals or not pattern:
        raise PolicyError(f"--override {text}: give PATTERN=W/A such as 'body.*=4/8', or PATTERN=float")
    return Override(pattern, layer_bits("--override", bits))
