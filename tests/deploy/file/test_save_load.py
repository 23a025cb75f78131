import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from srquant.deploy.file import save_load as file_module
from srquant.deploy.file.save_load import checksum, is_quantized_file, load, save
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.errors import OutputError, QuantizedFileError
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.models.load import build, load_model
from srquant.quantizers.module_spec import LayerSpec

W4 = LayerBits(4, 4)
POLICIES = {
    "default": Policy(),
    "float head and tail": Policy(W4, head=None, tail=None),
    "overrides": Policy(W4, overrides=(Override("body.0.*", LayerBits(2, 7)), Override("body.1", None))),
    "skip8": Policy(LayerBits(8, 8), skip_bits=8),
    "weights by channel": Policy(W4, granularity="channel"),
    "all by channel": Policy(W4, granularity="channel", activation_granularity="channel"),
    "two bounds": Policy(LayerBits(5, 3), symmetric_weights=False),
    "two bounds by channel": Policy(LayerBits(3, 5), granularity="channel", symmetric_weights=False),
    **{
        f"{bits} bit": Policy(LayerBits(bits, bits), LayerBits(bits, bits), LayerBits(bits, bits)) for bits in (2, 6, 7)
    },
}
NETWORKS = {
    "edsr": {"blocks": 1, "features": 8, "scale": 4, "res_scale": 0.1},
    "srresnet": {"blocks": 1, "features": 8, "slopes": 8, "bias": True, "batch_norm": False},
    "msrresnet": {"blocks": 1, "features": 8, "scale": 3},
    "rdn": {"blocks": 2, "layers": 2, "growth": 4, "features": 8},
    "carn": {"features": 8, "groups": 4, "shared": True, "learned_shift": True},
    "rnet": {"blocks": 1, "features": 8},
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16},
    "imdtn": {"features": 16, "hidden": 32},
    "dat": {"depths": [3], "heads": 2, "features": 16, "hidden": 16, "window": [2, 4]},
    "rlfn": {"features": 8},
    "rfdn": {"features": 8},
    "span": {"features": 8},
    "compact": {"convolutions": 3, "features": 8},
    "rrdbnet": {"blocks": 1, "features": 8, "growth": 4},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def assert_survives(path, upscaled):
    def check(model: FrozenModel) -> None:
        save(model, path)
        loaded = load(path)
        assert torch.equal(upscaled(loaded), upscaled(model))
        assert loaded.network.facts == model.network.facts
        assert (loaded.policy, loaded.origin) == (model.policy, model.origin)
        assert not loaded.network.training
        assert is_quantized_file(path)

    return check


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_every_policy_comes_back_bit_for_bit(assert_survives, freeze_by_policy, policy):
    assert_survives(freeze_by_policy(build("edsr", NETWORKS["edsr"]), policy))


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_network_comes_back_bit_for_bit(assert_survives, freeze_by_policy, architecture):
    assert_survives(freeze_by_policy(build(architecture, NETWORKS[architecture]), Policy(LayerBits(3, 4))))


def test_networks_without_batch_norms_come_back(assert_survives, freeze_by_policy):
    plain = build("srresnet", {"blocks": 1, "features": 8, "batch_norm": False})
    assert_survives(freeze_by_policy(plain, Policy()))


def test_loaded_network_can_be_saved_again(small_model, path, tmp_path):
    save(small_model, path)
    save(load(path), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_same_network_same_bytes(small_model, tmp_path):
    for i in range(8):
        save(small_model, tmp_path / str(i))
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1


def test_size_is_the_bits(shared, path, freeze_by_policy):
    checkpoint = shared / "weights" / "edsr" / "edsr_r8f64_x2.pt"
    model = freeze_by_policy(load_model(checkpoint), Policy(W4))
    save(model, path)
    bits = 0
    for spec in model.specs.values():
        assert isinstance(spec, LayerSpec)
        bias = 0 if spec.bias is None else spec.bias.numel()
        bits += spec.weight.codes.numel() * spec.weight_bits + 32 * (bias + 3 + 2)
    shifts = 2 * (9 + 3)
    size = path.stat().st_size
    print(f"{size} bytes, {size * 8 / (bits + 32 * shifts) - 1:.2%} above the bit count")
    assert size * 8 <= 1.05 * (bits + 32 * shifts)
    assert size <= 0.16 * checkpoint.stat().st_size


def test_existing_file_stays_without_overwrite(path, small_model):
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"model\.safetensors exists; pass --overwrite"):
        save(small_model, path)
    assert path.read_text() == "mine"
    save(small_model, path, overwrite=True)
    assert is_quantized_file(path)


def write_half(tensors, path, metadata):
    Path(path).write_bytes(b"half")
    raise OSError(28, "No space left on device")


def interrupt(tensors, path, metadata):
    Path(path).write_bytes(b"half")
    raise KeyboardInterrupt


def test_full_disk_leaves_nothing(path, monkeypatch, small_model):
    monkeypatch.setattr(file_module, "save_file", write_half)
    with pytest.raises(OutputError, match=r"can't write .*No space left.*another place"):
        save(small_model, path)
    assert not list(path.parent.iterdir())


def test_full_disk_leaves_the_old_file(path, monkeypatch, small_model):
    path.write_text("old")
    monkeypatch.setattr(file_module, "save_file", write_half)
    with pytest.raises(OutputError):
        save(small_model, path, overwrite=True)
    assert [(p.name, p.read_text()) for p in path.parent.iterdir()] == [(path.name, "old")]


def test_interrupted_write_leaves_nothing(path, monkeypatch, small_model):
    monkeypatch.setattr(file_module, "save_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(small_model, path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("place", ["missing/model", "file/model", "x" * 300, "folder"])
def test_places_that_cant_be_written(tmp_path, place, small_model):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't write"):
        save(small_model, tmp_path / place, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"PK\x03\x04", b"\xff" * 64], ids=["empty", "zero", "zip", "ff"])
def test_files_of_another_kind(path, content):
    path.write_bytes(content)
    assert not is_quantized_file(path)
    with pytest.raises(QuantizedFileError, match=r"can't read .*model\.safetensors"):
        load(path)


def test_missing_file_and_folder(path, tmp_path):
    for place in (path, tmp_path):
        assert not is_quantized_file(place)
        with pytest.raises(QuantizedFileError, match="can't read"):
            load(place)


def test_safetensors_of_someone_else(path):
    save_file({"weight": torch.ones(3)}, path)
    assert not is_quantized_file(path)
    with pytest.raises(QuantizedFileError, match="no header of srquant"):
        load(path)


def test_changed_weight_is_noticed(path, small_model):
    save(small_model, path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(QuantizedFileError, match=r"model\.safetensors can't be used: it is damaged.*checksum"):
        load(path)


@pytest.fixture
def complaint(path, small_model):
    """What loading says after an edit of header or tensors by someone who knows how the checksum is made."""
    save(small_model, path)

    def after(edit) -> str:
        with safe_open(path, "pt") as file:
            fields = json.loads(file.metadata()["srquant"])
        tensors = load_file(path)
        del tensors["sha256"]
        changed = edit(fields, tensors)
        header = changed if isinstance(changed, str) else json.dumps(fields)
        tensors["sha256"] = checksum(header, tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"srquant": header})
        with pytest.raises(QuantizedFileError) as caught:
            load(path)
        return str(caught.value)

    return after


def layer(fields, name="body.0.body.0"):
    return next(record for record in fields["modules"] if record["name"] == name)


def turn(fields, name, kind, **settings):
    """Call a module what it isn't."""
    record = layer(fields, name)
    grid = record["grid"]
    record.clear()
    record.update(name=name, kind=kind, grid=grid, **settings)


def nested(depth):
    return {"a": nested(depth - 1)} if depth else 0


HEADER_EDITS = {
    "no JSON": (lambda f: "{", "not JSON"),
    "deep JSON": (lambda f: "[" * 100_000, "not JSON"),
    "long number": (lambda f: "9" * 5000, "not JSON"),
    "a list": (lambda f: "[]", r"header is \[\], need a JSON object"),
    "wide JSON": (lambda f: "[" + "[]," * 2**18 + "[]]", "not JSON of a network: more than 262,144 lists"),
    "nested arguments": (lambda f: f.update(arguments=nested(100)), "or 64 inside each other"),
    "long JSON": (
        lambda f: '"' + "a" * 2**24 + '"',
        "16,777,2.. characters of JSON, need at most 16,777,216|header has",
    ),
    "newer version": (
        lambda f: f.update(version=6),
        "newer srquant: field 'version' is 6, .*reads 3 to 5; update srquant$",
    ),
    "older version": (
        lambda f: f.update(version=2),
        "older srquant: field 'version' is 2, .*; quantize the network again$",
    ),
    "true version": (lambda f: f.update(version=True), "'version' is True, need an integer"),
    "unknown field": (lambda f: f.update(extra=1), "extra"),
    "missing field": (lambda f: f.pop("policy"), "policy"),
    "unknown layer field": (lambda f: layer(f).update(colour=1), "colour"),
    "unknown network": (lambda f: f.update(architecture="edrs"), "did you mean 'edsr'"),
    "network is a list": (lambda f: f.update(architecture=[]), "'architecture' .*need a text"),
    "arguments are a list": (lambda f: f.update(arguments=[]), "'arguments' .*need an object"),
    "unknown argument": (lambda f: f["arguments"].update(width=3), "width"),
    "huge argument": (lambda f: f["arguments"].update(features=10**9), "features=1000000000"),
    "many blocks": (lambda f: f["arguments"].update(blocks=1024), "more than .* parameters"),
    "true blocks": (lambda f: f["arguments"].update(blocks=True), "blocks=True"),
    "half a block": (lambda f: f["arguments"].update(blocks=0.5), "blocks=0.5"),
    "scale 5": (lambda f: f["arguments"].update(scale=5), "can't be built"),
    "factor NaN": (lambda f: f["arguments"].update(res_scale=float("nan")), "res_scale=nan"),
    "factor huge": (lambda f: f["arguments"].update(res_scale=10**400), "res_scale=1000"),
    "wider network": (lambda f: f["arguments"].update(features=16), "doesn't fit"),
    "9 bit": (lambda f: layer(f).update(weight_bits=9), "body.0.body.0.*'weight_bits' is 9, need 2 to 8"),
    "1 bit": (lambda f: layer(f)["grid"].update(bits=1), "body.0.body.0.*'bits' is 1, need 2 to 8"),
    "true bits": (lambda f: layer(f)["grid"].update(bits=True), "'bits' is True, need an integer"),
    "other bits": (lambda f: layer(f).update(weight_bits=4), "codes"),
    "negative size": (lambda f: layer(f).update(shape=[-8, -8, 3, 3]), "-8"),
    "no size": (lambda f: layer(f).update(shape=[2**60, 0, 3, 3]), "is 0, need at least 1"),
    "huge size": (lambda f: layer(f).update(shape=[2**60, 2**60, 3, 3]), "doesn't fit"),
    "flat size": (lambda f: layer(f).update(shape=[576]), "doesn't fit"),
    "layer twice": (lambda f: f["modules"].append(dict(layer(f))), "layer 'body.0.body.0' doesn't fit .*twice"),
    "layer renamed": (lambda f: layer(f).update(name="body.0"), "'body.0'.*doesn't fit"),
    "layer is the network": (lambda f: layer(f).update(name=""), "doesn't fit"),
    "layer without name": (lambda f: layer(f).update(name=None), "'name' is None, need a text"),
    "layer left out": (lambda f: f["modules"].pop(), "'float.add.|belong to no module|missing"),
    "no layers": (lambda f: f.update(modules=[]), "missing"),
    "layer is a sum": (lambda f: turn(f, "body.0.body.0", "sum", scale=1.0), "sum of scale 1.0 doesn't fit"),
    "sum is a layer": (
        lambda f: turn(f, "body.0.add", "layer", weight_bits=3, shape=[8, 8], geometry=None),
        "doesn't fit",
    ),
    "other factor": (lambda f: layer(f, "body.0.add").update(scale=0.5), "doesn't fit"),
    "other stride": (lambda f: layer(f)["geometry"].update(stride=[2, 2]), "doesn't fit"),
    "other groups": (lambda f: layer(f)["geometry"].update(groups=2), "doesn't fit"),
    "true groups": (lambda f: layer(f)["geometry"].update(groups=True), "'groups' is True, need an integer"),
    "half padding": (lambda f: layer(f)["geometry"].update(padding=[0.5, 1]), "0.5, need an integer"),
    "three paddings": (lambda f: layer(f)["geometry"].update(padding=[1, 1, 1]), "need pairs of height and width"),
    "no geometry": (lambda f: layer(f).update(geometry=None), "doesn't fit"),
    "lattice 0": (lambda f: layer(f).update(lattice=0.0), "lattice"),
    "lattice NaN": (lambda f: layer(f).update(lattice=float("nan")), "lattice"),
    "lattice tiny": (lambda f: layer(f).update(lattice=5e-324), "lattice"),
    "lattice no power": (lambda f: layer(f).update(lattice=0.3), "lattice"),
    "policy is none": (lambda f: f.update(policy=None), "'policy' is None, need an object"),
    "policy without base": (lambda f: f["policy"].update(base=None), "base"),
    "policy of 4-bit sums": (lambda f: f["policy"].update(skip_bits=4), "skip_bits"),
    "policy in words": (lambda f: f["policy"].update(symmetric_weights="yes"), "'yes', need true or false"),
    "policy of pixels": (lambda f: f["policy"].update(granularity=[]), "granularity"),
    "threads below 0": (lambda f: f["origin"].update(threads=-1), "'threads' is -1"),
    "method is none": (lambda f: f["origin"].update(method=None), "'method' is None, need a text"),
}


@pytest.mark.parametrize(("edit", "says"), HEADER_EDITS.values(), ids=HEADER_EDITS)
def test_header_that_contradicts_is_refused(complaint, edit, says):
    message = complaint(lambda fields, tensors: edit(fields))
    assert re.search(says, message), message


def change(name, values):
    def edit(fields, tensors):
        tensors[name] = values(tensors[name])

    return edit


LAYER = "body.0.body.0"
TENSOR_EDITS = {
    "missing": (lambda f, t: t.pop(f"{LAYER}.codes"), r"'body.0.body.0.codes' is missing"),
    "missing bias": (lambda f, t: t.pop(f"{LAYER}.bias"), "bias' is missing"),
    "missing float": (lambda f, t: t.pop("float.sub_mean.bias"), "sub_mean.bias' is missing"),
    "extra": (lambda f, t: t.update({"spare": torch.ones(1)}), "'spare'.*belong to no module"),
    "extra float": (lambda f, t: t.update({"float.spare": torch.ones(1)}), "belong to no module"),
    "extra of a layer": (lambda f, t: t.update({f"{LAYER}.zeros": torch.ones(1)}), "belong to no module"),
    "codes too short": (change(f"{LAYER}.codes", lambda v: v[:-1]), "codes.* need"),
    "codes of int8": (change(f"{LAYER}.codes", lambda v: v.view(torch.int8)), "int8.*need torch.uint8"),
    "float16 bias": (change(f"{LAYER}.bias", lambda v: v.half()), "float16.*need torch.float32"),
    "bfloat16 bias": (change(f"{LAYER}.bias", lambda v: v.bfloat16()), "bfloat16"),
    "float64 shift": (change("float.add_mean.bias", lambda v: v.double()), "float64"),
    "short bias": (change(f"{LAYER}.bias", lambda v: v[1:]), r"\(7,\), need torch.float32 \(8,\)"),
    "NaN bias": (change(f"{LAYER}.bias", lambda v: v * float("nan")), "not finite"),
    "infinite shift": (change("float.add_mean.bias", lambda v: v / 0), "not finite"),
    "scale 0": (change(f"{LAYER}.weight_grid", lambda v: v * torch.tensor([[0.0], [1], [1]])), "weight scale"),
    "scale negative": (change(f"{LAYER}.weight_grid", lambda v: v * torch.tensor([[-1.0], [1], [1]])), "weight scale"),
    "scale infinite": (change(f"{LAYER}.weight_grid", lambda v: v / torch.tensor([[0.0], [1], [1]])), "not finite"),
    "multiplier 0": (change(f"{LAYER}.weight_grid", lambda v: v * torch.tensor([[1.0], [0], [1]])), "not integers"),
    "multiplier 1.5": (
        change(f"{LAYER}.weight_grid", lambda v: v * torch.tensor([[1.0], [0.75], [1]])),
        "not integers",
    ),
    "multiplier 99": (
        change(f"{LAYER}.weight_grid", lambda v: v * torch.tensor([[1.0], [50], [1]])),
        "not integers",
    ),
    "shift -128": (change(f"{LAYER}.weight_grid", lambda v: v - torch.tensor([[0.0], [0], [128]])), "not integers"),
    "codes above the grid": (change("head.0.codes", lambda v: v | 255), "not integers"),
    "grid of two rows": (change(f"{LAYER}.weight_grid", lambda v: v[:2]), "weight_grid"),
    "bounds swapped": (change(f"{LAYER}.bounds", lambda v: v.flip(0)), r"'body.0.body.0': step"),
    "bounds equal": (change(f"{LAYER}.bounds", torch.zeros_like), "finite and > 0"),
    "bounds too far": (
        change("body.0.add.bounds", lambda v: torch.tensor([-3e38, 3e38])),
        "contains 3e.38, more than 1e.12",
    ),
    "bounds of 1e38": (
        change(f"{LAYER}.bounds", lambda v: v * 0 + torch.tensor([0, 1e38]).view(-1, *[1] * (v.dim() - 1))),
        "1e.38",
    ),
    "scale of 1e38": (
        change(
            f"{LAYER}.weight_grid", lambda v: v * torch.tensor([[0.0], [1], [1]]) + torch.tensor([[1e38], [0], [0]])
        ),
        "contains 1e.38",
    ),
    "bias of 1e13": (
        change(f"{LAYER}.bias", lambda v: v * 0 + 1e13),
        "bias' contains 1e.13, more than 1e.12; copy the file",
    ),
    "shift of 1e38": (change("float.add_mean.bias", lambda v: v * 0 - 1e38), "add_mean.bias' contains 1e.38"),
    "bounds too near": (change("body.0.add.bounds", lambda v: torch.tensor([0.0, 1e-45])), "finite and > 0"),
    "bounds of 4 channels": (change(f"{LAYER}.bounds", lambda v: v[:, :4]), "bounds"),
    "three bounds": (change("body.0.add.bounds", lambda v: torch.ones(3)), "bounds"),
    "one bound": (change("body.0.add.bounds", lambda v: torch.tensor(1.0)), "bounds"),
}


@pytest.mark.parametrize(("edit", "says"), TENSOR_EDITS.values(), ids=TENSOR_EDITS)
def test_tensors_that_contradict_are_refused(complaint, edit, says):
    message = complaint(edit)
    assert re.search(says, message), message


def test_others_may_read_a_file_as_any_other(small_model, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    save(small_model, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(("architecture", "argument"), [("srresnet", "tanh"), ("rdn", "idealo")])
def test_files_from_before_an_argument_existed(
    path, tmp_path, edited, freeze_by_policy, upscaled, architecture, argument
):
    model = freeze_by_policy(build(architecture, NETWORKS[architecture]), Policy(LayerBits(3, 4)))
    save(model, path)
    edited(path, tmp_path / "old", lambda header, _: header["arguments"].pop(argument))
    loaded = load(tmp_path / "old")
    assert loaded.network.facts == model.network.facts
    assert torch.equal(upscaled(loaded), upscaled(model))
