"""The same weights under the names of different projects are the same network."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from srquant.errors import CheckpointError
from srquant.models.layout import Weights, register
from srquant.models.load import ARCHITECTURES, build, describe, load_model
from srquant.models.network import Network

SMALL = {
    "edsr": {"blocks": 2, "features": 8, "scale": 4},
    "srresnet": {"blocks": 2, "features": 8, "scale": 4},
    "msrresnet": {"blocks": 2, "features": 8, "scale": 4},
    "rdn": {"blocks": 2, "layers": 3, "growth": 4, "features": 8, "scale": 4},
    "carn": {"features": 8, "scale": 4},
    "rnet": {"blocks": 2, "features": 8, "scale": 4},
    "swinir": {"depths": [2, 2], "heads": 2, "features": 8, "hidden": 16, "scale": 4},
    "imdtn": {"features": 16, "hidden": 32},
    "dat": {"depths": [3, 1], "heads": 2, "features": 16, "hidden": 16, "window": [2, 4], "scale": 4},
    "rlfn": {"features": 8, "attention": 4},
    "rfdn": {"features": 8, "attention": 2},
    "compact": {"convolutions": 4, "features": 8, "scale": 4},
    "rrdbnet": {"blocks": 2, "features": 8, "growth": 4},
}
"""Small networks whose own names are those of official checkpoints."""


VARIANTS = {
    "srresnet with tanh": ("srresnet", {"blocks": 2, "features": 8, "slopes": 8, "bias": True, "tanh": True}),
    "rdn of idealo": ("rdn", {"blocks": 2, "layers": 3, "growth": 4, "features": 8, "scale": 2, "idealo": True}),
    "classical dat": (
        "dat",
        {
            "depths": [1, 2],
            "heads": 4,
            "features": 32,
            "window": [3, 3],
            "scale": 3,
            "bottleneck": False,
            "light": False,
        },
    ),
    "rdn of idealo x3": ("rdn", {"blocks": 2, "layers": 3, "growth": 4, "features": 8, "scale": 3, "idealo": True}),
}


def saved(weights, path, container=None, prefix=""):
    weights = {prefix + name: tensor for name, tensor in weights.items()}
    torch.save({container: weights, "step": 3} if container else weights, path)
    return path


def official(network: Network, *rules: tuple[str, str]) -> Weights:
    names = {}
    for name, tensor in network.module.state_dict().items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        names[name] = tensor
    return names


def assert_same(a: Network, b: Network, size: int = 16) -> None:
    images = torch.rand(1, 3, size, size)
    with torch.inference_mode():
        assert (a(images) - b(images)).abs().max() * 255 < 1e-3


@pytest.mark.parametrize("architecture", SMALL)
def test_own_state_is_recognised(architecture, tmp_path):
    network = build(architecture, SMALL[architecture])
    loaded = load_model(saved(network.module.state_dict(), tmp_path / "own.pt"))
    assert loaded.facts == network.facts
    assert not loaded.training
    assert_same(loaded, network)


@pytest.mark.parametrize(("architecture", "arguments"), VARIANTS.values(), ids=VARIANTS)
def test_own_state_of_a_variant_is_recognised(architecture, arguments, tmp_path):
    network = build(architecture, arguments)
    loaded = load_model(saved(network.module.state_dict(), tmp_path / "own.pt"))
    assert loaded.facts == network.facts
    assert_same(loaded, network)


@pytest.mark.parametrize(
    ("container", "prefix"), [("params_ema", ""), ("params", ""), ("state_dict", "module."), (None, "module.")]
)
def test_containers_and_prefixes_are_taken_off(container, prefix, tmp_path):
    network = build("edsr", SMALL["edsr"])
    loaded = load_model(saved(network.module.state_dict(), tmp_path / "a.pth", container, prefix))
    assert_same(loaded, network)


def test_averaged_weights_win(tmp_path):
    last, averaged = build("edsr", SMALL["edsr"]), build("edsr", SMALL["edsr"])
    torch.save({"params": last.module.state_dict(), "params_ema": averaged.module.state_dict()}, tmp_path / "both.pth")
    assert_same(load_model(tmp_path / "both.pth"), averaged)


def test_half_precision_safetensors(tmp_path):
    network = build("edsr", SMALL["edsr"]).half()
    save_file(network.module.state_dict(), tmp_path / "half.safetensors")
    loaded = load_model(tmp_path / "half.safetensors")
    assert all(t.dtype == torch.float32 for t in loaded.state_dict().values())
    assert torch.equal(loaded.module.tail[1].weight, network.module.tail[1].weight.float())


ADABM = ((r"^(body\.\d+)\.body\.0", r"\1.conv1"), (r"^(body\.\d+)\.body\.2", r"\1.conv2"))


def test_edsr_as_adabm_names_it(tmp_path):
    network = build("edsr", SMALL["edsr"])
    assert_same(load_model(saved(official(network, *ADABM), tmp_path / "adabm.pt")), network)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_edsr_as_basicsr_names_it(scale, tmp_path):
    network = build("edsr", SMALL["edsr"] | {"scale": scale})
    rules = (*ADABM, ("^head.0", "conv_first"), ("^body.2", "conv_after_body"), ("^tail.0", "upsample"))
    weights = official(network, *rules, ("^tail.1", "conv_last"))
    weights = {name: tensor for name, tensor in weights.items() if "mean" not in name}
    loaded = load_model(saved(weights, tmp_path / "basicsr.pth", "params"))
    assert loaded.facts == network.facts
    assert_same(loaded, network)


def test_published_edsr_is_the_same_computed_as_basicsr_does(shared, tmp_path):
    """BasicSR shifts by the mean, scales to grey levels, and back, outside of its convolutions."""
    network = load_model(shared / "weights" / "edsr" / "edsr_r8f64_x2.pt").eval()
    rules = (*ADABM, ("^head.0", "conv_first"), ("^body.8", "conv_after_body"), ("^tail.0", "upsample"))
    weights = official(network, *rules, ("^tail.1", "conv_last"))
    weights = {name: tensor for name, tensor in weights.items() if "mean" not in name}
    assert_same(load_model(saved(weights, tmp_path / "basicsr.pth", "params")), network, 40)
    assert_same(load_model(saved(official(network, *ADABM), tmp_path / "adabm.pt")), network, 40)

    def convolve(name, x):
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    images, mean = torch.rand(1, 3, 40, 40), torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    with torch.inference_mode():
        x = first = convolve("conv_first", (images - mean) * 255)
        for i in range(8):
            x = x + convolve(f"body.{i}.conv2", convolve(f"body.{i}.conv1", x).relu())
        x = F.pixel_shuffle(convolve("upsample.0", convolve("conv_after_body", x) + first), 2)
        assert (convolve("conv_last", x) / 255 + mean - network(images)).abs().max() * 255 < 1e-3


def test_large_edsr_scales_its_residuals():
    infer = ARCHITECTURES["edsr"].infer
    assert infer(build("edsr", {"blocks": 1, "features": 256}).module.state_dict())["res_scale"] == 0.1
    assert infer(build("edsr", {"blocks": 1, "features": 64}).module.state_dict())["res_scale"] == 1.0


def test_srresnet_of_cadyq_stores_unused_shifts_and_no_counters(tmp_path):
    network = build("srresnet", SMALL["srresnet"])
    weights = {n: t for n, t in network.module.state_dict().items() if "num_batches" not in n}
    weights |= {"sub_mean.weight": torch.eye(3).view(3, 3, 1, 1), "sub_mean.bias": torch.ones(3)}
    assert_same(load_model(saved(weights, tmp_path / "cadyq.pt")), network)


KRASSERM = (
    (r"^head\.0", "conv_input"),
    (r"^head\.1", "prelu_input"),
    (r"\.act\.", ".prelu."),
    (r"^body\.2\.", "conv_mid."),
    (r"^body\.3\.", "bn_mid."),
    (r"^tail\.0\.0", "up.0.conv"),
    (r"^tail\.0\.2", "up.0.prelu"),
    (r"^tail\.0\.3", "up.1.conv"),
    (r"^tail\.0\.5", "up.1.prelu"),
    (r"^tail\.1\.0", "conv_output_tanh"),
)


@pytest.fixture
def krasserm() -> Weights:
    architecture, arguments = VARIANTS["srresnet with tanh"]
    return official(build(architecture, arguments), *KRASSERM)


def test_srresnet_with_tanh_takes_unit_range(krasserm, tmp_path):
    """Without the tanh, the same weights give ``(x + 1) / 2`` instead of ``(tanh(x) + 1) / 2``."""
    plain = {name.replace("_tanh", ""): tensor for name, tensor in krasserm.items()}
    with_tanh, without = (
        load_model(saved(weights, tmp_path / f"{i}.pth")) for i, weights in enumerate((krasserm, plain))
    )
    images = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        last = 2 * without(images) - 1
        assert last.abs().max() > 0.1
        assert torch.allclose(with_tanh(images), (last.tanh() + 1) / 2, atol=1e-6)
    assert with_tanh.facts.arguments["tanh"]
    assert not without.facts.arguments["tanh"]


def test_the_first_convolution_of_srresnet_with_tanh_takes_unit_range(krasserm, tmp_path):
    loaded = load_model(saved(krasserm, tmp_path / "net.pth"))
    assert torch.equal(loaded.module.head[0].weight, krasserm["conv_input.weight"] / 255)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv_output.weight", r"unknown weights tail\.1\."),
        ("attention.weight", r"unknown weights attention\.bias, attention\.weight"),
    ],
)
def test_srresnet_with_tanh_and_a_foreign_weight(krasserm, name, message, tmp_path):
    krasserm[name] = torch.zeros(3, 8, 9, 9)
    krasserm[name.replace("weight", "bias")] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=message):
        load_model(saved(krasserm, tmp_path / "net.pth"))


def test_msrresnet_as_classsr_names_it(tmp_path):
    network = build("msrresnet", SMALL["msrresnet"])
    weights = official(network, ("^body", "recon_trunk"), ("^conv_hr", "HRconv"))
    assert_same(load_model(saved(weights, tmp_path / "classsr.pth")), network)


@pytest.mark.parametrize(("scale", "stages"), [(2, 1), (3, 1), (4, 2)])
def test_rdn_of_yjn870_works_in_unit_range(scale, stages, tmp_path):
    network = build("rdn", SMALL["rdn"] | {"scale": scale})
    rules = (
        (r"^SFENet", "sfe"),
        (r"^RDBs\.(\d+)\.convs\.(\d+)\.conv\.0", r"rdbs.\1.layers.\2.conv"),
        (r"^RDBs\.(\d+)\.LFF", r"rdbs.\1.lff"),
        ("^GFF", "gff"),
        (rf"^UPNet\.{2 * stages}", "output"),
        ("^UPNet", "upscale"),
    )
    loaded = load_model(saved(official(network, *rules), tmp_path / "port.pth"))
    images = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(loaded(images), network.module(images), atol=1e-5)


def idealo(scale: int) -> Weights:
    """Random weights under idealo's names, in [0, 1]."""
    architecture, arguments = VARIANTS["rdn of idealo"]
    network = build(architecture, arguments | {"scale": scale})
    rules = ((r"^UPNet\.0", "UPN1"), (r"^UPNet\.2", "UPN2"), (r"^UPNet\.4", "UPN3"))
    weights = official(network, *rules)
    del weights["UPNet.5.weight"], weights["UPNet.5.bias"]
    return weights | {"SR.weight": torch.randn(3, 3 * scale**2, 3, 3), "SR.bias": torch.randn(3)}


@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.inference_mode()
def test_rdn_of_idealo_is_computed_with_nearest_upsampling(scale, tmp_path):
    weights = idealo(scale)
    loaded = load_model(saved(weights, tmp_path / "idealo.pth"))
    assert loaded.facts.scale == scale

    def convolve(name, x):
        kernel = weights[f"{name}.weight"]
        return F.conv2d(x, kernel, weights[f"{name}.bias"], padding=kernel.shape[2] // 2)

    images = torch.rand(1, 3, 9, 8)
    shallow = convolve("SFENet1", images)
    x, blocks = convolve("SFENet2", shallow), []
    for d in (0, 1):
        dense = x
        for c in (0, 1, 2):
            dense = torch.cat([dense, convolve(f"RDBs.{d}.convs.{c}.conv.0", dense).relu()], 1)
        x = x + convolve(f"RDBs.{d}.LFF", dense)
        blocks.append(x)
    x = shallow + convolve("GFF.1", convolve("GFF.0", torch.cat(blocks, 1)))
    x = convolve("UPN3", convolve("UPN2", convolve("UPN1", x).relu()).relu())
    expected = convolve("SR", F.interpolate(x, scale_factor=scale, mode="nearest"))
    assert torch.allclose(loaded(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"UPN4.weight": torch.zeros(3, 3, 3, 3)}, r"unknown weights UPN4\.weight"),
        ({"UPNet.0.weight": torch.zeros(64, 8, 5, 5)}, r"misses the weights UPNet\.0\.bias, UPNet\.2\.bias"),
        ({"SR.weight": torch.zeros(3, 12, 5, 5)}, r"SR\.weight is \(3, 12, 5, 5\); its kernel must be 3 x 3"),
        ({"UPN2.weight": torch.zeros(16, 64, 3, 3)}, r"wrong shapes: UPNet\.2\.weight"),
    ],
)
def test_rdn_of_idealo_with_foreign_weights(change, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        load_model(saved(idealo(2) | change, tmp_path / "idealo.pth"))


def multi_scale_carn() -> Weights:
    weights = {}
    for scale in (2, 3, 4):
        weights |= official(build("carn", SMALL["carn"] | {"scale": scale}), ("upsample.up", f"upsample.up{scale}"))
    return weights


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_carn_gives_the_wanted_scale(scale, tmp_path):
    network = load_model(saved(multi_scale_carn(), tmp_path / "carn.pth"), scale=scale)
    assert network.facts.scale == scale
    assert network(torch.rand(1, 3, 4, 4)).shape[2] == 4 * scale


@pytest.mark.parametrize(("scale", "message"), [(None, "choose one with --scale or scale="), (8, "not by 8")])
def test_carn_without_the_wanted_scale(scale, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        load_model(saved(multi_scale_carn(), tmp_path / "carn.pth"), scale=scale)


def test_stored_attention_masks_are_dropped(tmp_path):
    network = build("swinir", SMALL["swinir"])
    weights = network.module.state_dict() | {"layers.0.residual_group.blocks.1.attn_mask": torch.zeros(64, 64, 64)}
    assert_same(load_model(saved(weights, tmp_path / "swinir.pth", "params")), network)


def test_classical_swinir(tmp_path):
    network = build("swinir", SMALL["swinir"] | {"light": False, "scale": 2})
    loaded = load_model(saved(network.module.state_dict(), tmp_path / "swinir.pth"))
    assert loaded.facts == network.facts


def test_description_says_what_was_found(tmp_path):
    network = build("edsr", {"blocks": 16, "features": 64, "scale": 4})
    assert describe(network) == (
        "edsr x4 (blocks 16, features 64, res_scale 1.0), RGB 0-255, mean shift, 1,517,571 parameters"
    )


def test_one_name_for_two_architectures():
    with pytest.raises(ValueError, match="two architectures are named 'edsr'"):
        register(ARCHITECTURES["edsr"], ARCHITECTURES["edsr"])


@pytest.mark.parametrize(
    ("architecture", "arguments", "message"),
    [
        ("edrs", {}, "did you mean 'edsr'"),
        ("edsr", {"depth": 3}, "depth"),
        ("edsr", {"scale": 5}, "can't be built"),
        ("edsr", {"blocks": -1}, "blocks"),
        ("edsr", {"features": 10**9}, "features"),
        ("dat", {"features": 12, "heads": 2}, "features 12 must be a multiple of heads, 2, and at least 16"),
        ("dat", {"features": 60, "heads": 3}, "heads even"),
        ("dat", {"window": [8, 8, 8]}, "can't be built"),
    ],
)
def test_what_cannot_be_built(architecture, arguments, message):
    with pytest.raises(CheckpointError, match=message):
        build(architecture, arguments)


def conv_names(*layers: str) -> set[str]:
    return {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_edsr_names_are_the_official_ones():
    expected = conv_names("sub_mean", "add_mean", "head.0", "body.16", "tail.0.0", "tail.0.2", "tail.1")
    expected |= conv_names(*(f"body.{i}.body.{j}" for i in range(16) for j in (0, 2)))
    assert build("edsr", {"scale": 4}).module.state_dict().keys() == expected


def test_rdn_names_are_the_official_ones():
    expected = conv_names("SFENet1", "SFENet2", "GFF.0", "GFF.1", "UPNet.0", "UPNet.2", "UPNet.4")
    expected |= conv_names(*(f"RDBs.{d}.LFF" for d in range(16)))
    expected |= conv_names(*(f"RDBs.{d}.convs.{c}.conv.0" for d in range(16) for c in range(8)))
    assert build("rdn", {}).module.state_dict().keys() == expected


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_carn_names_are_the_official_ones(scale):
    """Of a single-scale network: b1 to b3 are blocks of three residual units, c1 to c3 join what came before."""
    units = [f"b{i}.b{j}.body.{k}" for i in (1, 2, 3) for j in (1, 2, 3) for k in (0, 2)]
    joins = [f"{block}c{j}.body.0" for block in ("b1.", "b2.", "b3.", "") for j in (1, 2, 3)]
    shuffles = ["upsample.up.body.0", "upsample.up.body.3"] if scale == 4 else ["upsample.up.body.0"]
    expected = conv_names("entry", "exit", *units, *joins, *shuffles)
    shifts = {f"{kind}_mean.shifter.{part}" for kind in ("sub", "add") for part in ("weight", "bias")}
    assert build("carn", {"scale": scale}).module.state_dict().keys() == expected | shifts


def test_swinir_without_shifts_and_with_masks_as_official_files_have_it(tmp_path):
    network = build("swinir", SMALL["swinir"])
    weights = {name: tensor for name, tensor in network.module.state_dict().items() if "mean" not in name}
    weights["layers.0.residual_group.blocks.1.attn_mask"] = torch.zeros(64, 64, 64)
    loaded = load_model(saved(weights, tmp_path / "swinir.pth", "params"))
    assert loaded.facts == network.facts
    assert_same(loaded, network)


def test_srresnet_names_are_those_of_adabm():
    norms = [f"body.{i}.bn{j}" for i in range(16) for j in (1, 2)] + ["body.17"]
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"{norm}.{kind}" for norm in norms for kind in kinds}
    expected |= {f"body.{i}.{layer}.weight" for i in range(16) for layer in ("conv1", "act", "conv2")}
    edges = ("head.0", "head.1", "body.16", "tail.0.0", "tail.0.2", "tail.0.3", "tail.0.5", "tail.1")
    assert build("srresnet", {}).module.state_dict().keys() == expected | {f"{layer}.weight" for layer in edges}


def test_swinir_light_names_are_the_official_ones():
    layers = ["conv_first", "patch_embed.norm", "norm", "conv_after_body", "upsample.0", "sub_mean", "add_mean"]
    layers += [f"layers.{i}.conv" for i in range(4)]
    blocks = [f"layers.{i}.residual_group.blocks.{j}" for i in range(4) for j in range(6)]
    parts = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    expected = conv_names(*layers, *(f"{block}.{part}" for block in blocks for part in parts))
    expected |= {f"{block}.attn.relative_position_{kind}" for block in blocks for kind in ("bias_table", "index")}
    assert build("swinir", {}).module.state_dict().keys() == expected


RRDB = {
    "x4": {},
    "x2 by one convolution": {"scale": 2},
    "x8": {"scale": 8},
    "x2 with pixel unshuffle": {"scale": 2, "unshuffle": 2},
    "x1 with pixel unshuffle": {"scale": 1, "unshuffle": 4},
    "ESRGAN+": {"plus": True},
    "another growth": {"growth": 6},
}
FIRST_RELEASE = (
    (r"^body\.(\d)\.rdb(\d)\.", r"RRDB_trunk.\1.RDB\2."),
    ("^conv_body", "trunk_conv"),
    ("^conv_up", "upconv"),
    ("^conv_hr", "HRconv"),
)


def oldest(stages):
    """Rules for the names of the oldest models: behind the body, three steps for each doubling of the size."""
    numbers = [3 + 3 * i for i in range(stages)]
    end = 2 + 3 * stages
    behind = [*((f"^conv_up{i + 1}", f"model.{number}") for i, number in enumerate(numbers))]
    return (
        (r"^body\.(\d)\.rdb(\d)\.(conv\d)\.", r"model.1.sub.\1.RDB\2.\3.0."),
        (r"^body\.(\d)\.rdb(\d)\.", r"model.1.sub.\1.RDB\2."),
        ("^conv_first", "model.0"),
        ("^conv_body", "model.1.sub.2"),
        *behind,
        ("^conv_hr", f"model.{end}"),
        ("^conv_last", f"model.{end + 2}"),
    )


@pytest.mark.parametrize("arguments", RRDB.values(), ids=RRDB)
def test_rrdbnet_under_all_its_names(arguments, tmp_path):
    network = build("rrdbnet", SMALL["rrdbnet"] | arguments)
    stages = len(network.module.ups)
    for number, rules in enumerate(((), FIRST_RELEASE, oldest(stages))):
        loaded = load_model(saved(official(network, *rules), tmp_path / f"{number}.pth"))
        assert loaded.facts == network.facts
        assert_same(loaded, network)


def test_rrdbnet_for_gray_pictures_is_refused(tmp_path):
    weights = build("rrdbnet", SMALL["rrdbnet"]).module.state_dict()
    weights["conv_first.weight"] = weights["conv_first.weight"][:, :1]
    with pytest.raises(CheckpointError, match="reads 1 channels and gives 3; only RGB"):
        load_model(saved(weights, tmp_path / "gray.pth"))


def test_rrdbnet_names_are_the_official_ones():
    names = build("rrdbnet", {"blocks": 1}).module.state_dict()
    block = [f"body.0.rdb{j}.conv{k}" for j in (1, 2, 3) for k in range(1, 6)]
    layers = ["conv_first", *block, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    assert list(names) == [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


class Branches(nn.Module):
    """A convolution of SPAN in the form for training: 1x1, 3x3 and 1x1 in a row, and a 1x1 beside them."""

    def __init__(self, conv):
        super().__init__()
        inputs, outputs = conv.in_channels, conv.out_channels
        chain = (
            nn.Conv2d(inputs, 2 * inputs, 1),
            nn.Conv2d(2 * inputs, 2 * outputs, 3),
            nn.Conv2d(2 * outputs, outputs, 1),
        )
        self.sk, self.conv = nn.Conv2d(inputs, outputs, 1), nn.Sequential(*chain)
        self.eval_conv = nn.Conv2d(inputs, outputs, 3, padding=1)  # stale

    def forward(self, x):
        return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)


@pytest.mark.parametrize("no_norm", [False, True])
def test_span_in_the_form_for_training_is_folded(no_norm, tmp_path):
    reference = build("span", {"blocks": 2, "features": 8, "fused": 8, "scale": 2})
    module = reference.module
    names = ["conv_1", "conv_2", *(f"block_{i}.c{j}_r" for i in (1, 2) for j in (1, 2, 3))]
    for name in names:
        module.set_submodule(name, Branches(module.get_submodule(name)))
    weights = {name: tensor for name, tensor in module.state_dict().items() if "sub_mean" not in name}
    if no_norm:
        weights["no_norm"] = torch.zeros(1)
        module.sub_mean = nn.Identity()
    else:
        reference.module.conv_1 = nn.Sequential(Scaled(255.0), module.conv_1)
    loaded = load_model(saved(weights, tmp_path / "training.pth", "params"))
    images = torch.rand(1, 3, 12, 13)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), reference(images), rtol=1e-4, atol=1e-4)


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x
