"""Which layers get which bits."""

import pytest

from srquant.errors import PolicyError
from srquant.insertion.plan import quantizable_layers, resolve
from srquant.insertion.policy import LayerBits, Override, Policy

W4A4, W8A8, W2A3 = LayerBits(4, 4), LayerBits(8, 8), LayerBits(2, 3)
BODY = ["body.0.body.0", "body.0.body.2", "body.1.body.0", "body.1.body.2", "body.2"]


def test_layers_of_a_network(tiny):
    assert quantizable_layers(tiny("edsr")) == ["head.0", *BODY, "tail.0.0", "tail.1"]


def test_head_body_tail(tiny):
    resolved = resolve(tiny("edsr"), Policy(base=W4A4, head=W8A8, tail=W2A3)).layers
    assert resolved == {"head.0": W8A8, **dict.fromkeys(BODY, W4A4), "tail.0.0": W2A3, "tail.1": W2A3}
    assert list(resolved) == quantizable_layers(tiny("edsr"))


def test_head_and_tail_can_stay_float(tiny):
    assert resolve(tiny("edsr"), Policy(head=None, tail=None)).layers == dict.fromkeys(BODY, W4A4)


def test_last_match_wins(tiny):
    overrides = (Override("body.*", W2A3), Override("body.1.*", W8A8), Override("*.2", None))
    resolved = resolve(tiny("edsr"), Policy(overrides=overrides)).layers
    assert resolved["body.0.body.0"] == W2A3
    assert resolved["body.1.body.0"] == W8A8
    assert not {"body.0.body.2", "body.1.body.2", "body.2"} & set(resolved)
    assert resolve(tiny("edsr"), Policy(overrides=overrides[::-1])).layers["body.1.body.2"] == W2A3


@pytest.mark.parametrize(("pattern", "near"), [("body.0.body.1", "'body.0.body.0'"), ("tial.1", "'tail.1'")])
def test_pattern_without_match_suggests_near_names(tiny, pattern, near):
    with pytest.raises(PolicyError, match=pattern) as error:
        resolve(tiny("edsr"), Policy(overrides=(Override(pattern, W8A8),)))
    assert "did you mean" in str(error.value)
    assert near in str(error.value)


def test_patterns_match_layers_only(tiny):
    with pytest.raises(PolicyError, match="matches no layer"):
        resolve(tiny("edsr"), Policy(overrides=(Override("sub_mean", W8A8),)))


def test_nothing_left_to_quantize(tiny):
    for pattern in ("*", "body.*"):
        with pytest.raises(PolicyError, match="head and tail: all 5 convolutions"):
            resolve(tiny("edsr"), Policy(overrides=(Override(pattern, None),)))


@pytest.mark.parametrize("bits", [1, 9, 0, -4, 4.0, True, "4", None])
def test_bits_are_integers_from_2_to_8(bits):
    with pytest.raises(PolicyError, match=r"weight bits: .*from 2 to 8"):
        LayerBits(bits, 4)
    with pytest.raises(PolicyError, match=r"activation bits: .*from 2 to 8"):
        LayerBits(4, bits)


@pytest.mark.parametrize("skip_bits", [4, 16, 0, "float"])
def test_skip_bits_are_8_or_float(skip_bits):
    with pytest.raises(PolicyError, match="skip_bits"):
        Policy(skip_bits=skip_bits)


@pytest.mark.parametrize("name", ["granularity", "activation_granularity"])
def test_granularity_is_tensor_or_channel(name):
    with pytest.raises(PolicyError, match="'row'"):
        Policy(**{name: "row"})
