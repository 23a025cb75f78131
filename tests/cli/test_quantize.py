import json
import re
from dataclasses import replace

import pytest
import torch

from srquant.cli.quantize_run import kept_float
from srquant.deploy.file.save_load import load
from srquant.errors import EngineError, InputError
from srquant.insertion.policy import Override, Policy
from srquant.methods.registry import METHODS
from srquant.models.architectures.attention.swinir import SwinIR
from srquant.models.architectures.edsr import EDSR
from srquant.models.architectures.rrdbnet import RRDBNet


@pytest.fixture
def quantize(run, files, calibration, tmp_path):
    def invoke(*arguments, model=None, target=tmp_path / "out.safetensors"):
        source = model or files / "edsr.pt"
        return run("quantize", source, "--method", "minmax", *calibration, "-o", target, *arguments)

    return invoke


@pytest.fixture
def layers(run, quantize, tmp_path):
    def after(*arguments):
        result = quantize(*arguments, "--overwrite")
        assert result.exit_code == 0, result.output
        value = json.loads(run("info", tmp_path / "out.safetensors", "--json", "-").stdout)
        return {layer["name"]: (layer["weight_bits"], layer["activation_bits"]) for layer in value["layers"]}

    return after


def test_bits_reach_their_layers(layers):
    bits = layers("-w", 3, "-a", 5, "--head-bits", "0", "--tail-bits", "6/7", "--override", "body.0.*=2/4")
    assert bits["head.0"] == (32, 32)
    assert bits["body.0.body.0"] == bits["body.0.body.2"] == (2, 4)
    assert bits["body.1"] == (3, 5)
    assert bits["tail.1"] == (6, 7)


def test_last_override_decides_and_may_be_float(layers):
    bits = layers("--override", "body.*=2/2", "--override", "body.1=float")
    assert bits["body.0.body.0"] == (2, 2)
    assert bits["body.1"] == (32, 32)


SHORT = {
    "ptq4sr": ["iterations=2"],
    "adabm": ["epochs=3"],
    "2dquant": ["iterations=2", "batch=2"],
    "outlier-aware": ["epochs=3"],
    "gba": ["epochs=1"],
    "distill": ["steps=2"],
    "auto": ["effort=quick"],
}
"""Options that make a method quick."""


@pytest.fixture
def origin(run, quantize, tmp_path):
    def after(*arguments):
        result = quantize(*arguments, "--overwrite")
        assert result.exit_code == 0, result.output
        return load(tmp_path / "out.safetensors").origin

    return after


def settings(method):
    return [part for text in SHORT.get(method, []) for part in ("--set", text)]


@pytest.mark.parametrize("method", METHODS)
def test_methods(origin, run, method):
    assert method in run("quantize", "--help").stdout
    assert origin("--method", method, *settings(method)).method == {"auto": "distill"}.get(method, method)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "tails"])
def test_range_methods_on_other_grids(origin, method):
    assert origin("--method", method, "--skip-bits", "8", "--granularity", "channel").options["finetune"] == "none"


def test_settings_reach_the_method(origin):
    options = origin("--method", "percentile", "--set", "share=0.02", "--set", "momentum=0.5").options
    assert (options["share"], options["momentum"]) == (0.02, 0.5)


@pytest.mark.parametrize(("recipe", "chosen"), [((), "together"), (("--recipe", "weights"), "weights")])
def test_finetune_is_an_option_of_range_methods(origin, recipe, chosen):
    assert origin("--method", "mse", "--finetune", *recipe).options["finetune"] == chosen


def test_only_the_given_kinds_are_quantized(quantize, complaint):
    assert "quantize more than linear" in complaint(quantize("--layers", "linear"))


def test_networks_with_attention_are_quantized_as_the_method_says(quantize, tmp_path):
    torch.save(SwinIR((1,), heads=2, features=8, scale=2, window=4, hidden=8).state_dict(), tmp_path / "swinir.pt")
    result = quantize("--method", "minmax", model=tmp_path / "swinir.pt")
    assert result.exit_code == 0
    assert load(tmp_path / "out.safetensors").policy.kinds == METHODS["minmax"].attention
    assert "attention: linear, matmul quantized, as published" in result.stdout
    assert re.search(r"OpenVINO on this machine, 64x64: quantized [\d.]+ ms, float [\d.]+ ms", result.stdout)


def test_a_network_that_openvino_cannot_run_is_quantized_without_times(quantize, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise EngineError("layer 'body.1' has no form in exports")

    monkeypatch.setattr("srquant.measure.speed.gain.measured_gain", refuse)
    torch.save(SwinIR((1,), heads=2, features=8, scale=2, window=4, hidden=8).state_dict(), tmp_path / "swinir.pt")
    result = quantize("--method", "minmax", model=tmp_path / "swinir.pt")
    assert result.exit_code == 0
    assert "not timed in OpenVINO: layer 'body.1' has no form in exports" in result.stdout


def test_same_seed_same_file(quantize, tmp_path):
    contents = []
    for name in ("a", "b"):
        quantize("--seed", 3, target=tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_existing_output_needs_overwrite(quantize, complaint, tmp_path):
    (tmp_path / "out.safetensors").write_text("mine")
    assert "--overwrite" in complaint(quantize())
    assert (tmp_path / "out.safetensors").read_text() == "mine"
    assert quantize("--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "minimax"), "did you mean 'minmax'?"),
        (("--finetune", "--recipe", "publish"), "did you mean 'published'?"),
        (("--recipe", "published"), "add --finetune"),
        (("--method", "gba", "--finetune"), "gba trains by itself"),
        (("--method", "ptq4sr", "--finetune"), "ptq4sr trains by itself"),
        (("--method", "auto", "--finetune"), "auto trains by itself"),
        (("--effort", "quick"), "only for auto and distill, not for minmax"),
        (("--method", "auto", "--effort", "slow"), "quick or normal or long"),
        (("--run", "folder"), "--run folder is only for auto and distill"),
        (("--set", "momentun=0.5"), "did you mean 'momentum'"),
        (("--set", "momentum"), "NAME=VALUE"),
        (("--set", "momentum=much"), "give a number"),
        (("--layers", "convs"), "did you mean 'conv' or 'block-conv'?"),
        (("--layers", "conv,"), "no kind of layer is called ''"),
        (("--method", "outlier-aware", "-a", "2"), "3"),
        (
            ("--method", "gba", "-a", "2"),
            "would have 1 to 3 bits, only 2 to 8 exist: use other base bits, or mixed=none",
        ),
        (("--method", "adabm", "-a", "8"), "8"),
        (("-w", "9"), "from 2 to 8"),
        (("-a", "1"), "from 2 to 8"),
        (("--head-bits", "many"), "--head-bits many"),
        (("--skip-bits", "4"), "give float or 8"),
        (("--granularity", "pixel"), "granularity pixel: use tensor, channel or auto"),
        (("--override", "body.0=x"), "--override x"),
        (("--override", "body.0"), "PATTERN=W/A"),
        (("--override", "bdy.*=4/4"), "matches no layer"),
        (("--scale", "3"), "not 3"),
        (("--count", "0"), "at least 1"),
        (("--count", "5"), "--count 4"),
        (("--patch", "33"), "--patch 32"),
        (("--seed", "-1"), "at least 0"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options_are_refused(quantize, complaint, arguments, says, tmp_path):
    assert says in complaint(quantize(*arguments))
    assert not list(tmp_path.iterdir())


def test_crops_of_a_size_that_the_network_cannot_take(quantize, complaint, tmp_path):
    torch.save(RRDBNet(1, 8, 4, scale=2, unshuffle=2).state_dict(), tmp_path / "x2plus.pth")
    says = complaint(quantize("--patch", 13, model=tmp_path / "x2plus.pth"))
    assert "can't take crops of 13x13 pixels, only multiples of 2" in says
    assert "--patch 14" in says
    assert quantize("--patch", 14, model=tmp_path / "x2plus.pth").exit_code == 0


def test_empty_calibration_folder(quantize, complaint, tmp_path):
    (tmp_path / "none").mkdir()
    assert "contains no pictures" in complaint(quantize("--calibration", tmp_path / "none"))


def test_unwritable_output(quantize, complaint, tmp_path):
    (tmp_path / "file").touch()
    assert "can't write" in complaint(quantize(target=tmp_path / "file" / "out.safetensors"))
    assert "is a folder" in complaint(quantize(target=tmp_path))
    assert "File name too long" in complaint(quantize(target=tmp_path / f"{'a' * 250}.safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_folders_are_made_once_the_network_is_there(quantize, tmp_path):
    target = tmp_path / "new" / "folder" / "out.safetensors"
    assert quantize("--layers", "nonsense", target=target).exit_code == 2
    assert not (tmp_path / "new").exists()
    assert quantize(target=target).exit_code == 0
    assert target.exists()


def test_a_network_that_files_have_no_form_for_is_refused_before_it_is_quantized(quantize, complaint, monkeypatch):
    def unreachable(*arguments):
        raise AssertionError

    def refuse(network):
        raise InputError("layer 'body.1', a Bessel, has no form in files: export the network instead")

    monkeypatch.setattr("srquant.cli.quantize_run.quantize_network", unreachable)
    monkeypatch.setattr("srquant.deploy.file.graph_record.check_form", refuse)
    assert "layer 'body.1', a Bessel, has no form in files" in complaint(quantize())


def test_unknown_network(quantize, complaint, tmp_path):
    torch.save({"some.weight": torch.ones(3, 3)}, tmp_path / "unknown.pt")
    assert "unknown.pt" in complaint(quantize(model=tmp_path / "unknown.pt"))


def test_diverged_network(quantize, complaint, tmp_path):
    weights = EDSR(1, 8, 2).state_dict()
    weights["head.0.weight"][0, 0, 0, 0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    assert "NaN" in complaint(quantize(model=tmp_path / "nan.pt"))


def test_quantized_file_cant_be_quantized_again(quantize, quantized, complaint):
    assert "is already quantized" in complaint(quantize(model=quantized))


def test_without_a_method_it_learns_and_says_how_long_it_will_take(run, files, calibration, tmp_path):
    target = tmp_path / "small.safetensors"
    result = run("quantize", files / "edsr.pt", *calibration, "--effort", "quick", "-w", 3, "-a", 3, "-o", target)
    assert result.exit_code == 0, result.output
    assert "3 bits: distill, quick, about 1 min" in result.stderr
    saved = load(target)
    assert saved.origin.method == "distill"
    assert saved.policy.granularity == saved.policy.activation_granularity
    assert f"grids: one per {saved.policy.granularity} of weights" in result.stdout
    assert (tmp_path / "small.run" / "metrics.csv").read_text().startswith("step,loss,held_out_loss")
    assert not (tmp_path / "small.run" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    "method", [("--method", "auto", "--effort", "quick"), ("--method", "distill", "--set", "steps=1")]
)
def test_grids_as_asked_for(quantize, tmp_path, method):
    grids = ("--granularity", "tensor", "--activation-granularity", "channel")
    assert quantize(*method, *grids).exit_code == 0
    policy = load(tmp_path / "out.safetensors").policy
    assert (policy.granularity, policy.activation_granularity) == ("tensor", "channel")


def test_another_run_in_the_folder_is_not_overwritten(quantize, complaint, tmp_path):
    arguments = ("--method", "distill", "--set", "steps=1", "--run", tmp_path / "run")
    assert quantize(*arguments).exit_code == 0
    (tmp_path / "out.safetensors").unlink()
    assert "base: " in complaint(quantize(*arguments, "-w", 5))
    assert quantize(*arguments, "-w", 5, "--overwrite").exit_code == 0


@pytest.fixture
def stopped(run, files, calibration, tmp_path, monkeypatch):
    """A command, after its process was stopped when everything was learned but nothing written."""
    command = ("quantize", files / "edsr.pt", *calibration, "--method", "distill", "--set", "steps=4", "--overwrite")
    command += ("-o", tmp_path / "out.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr("srquant.deploy.file.save_load.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*command).exit_code != 0
    return command


def test_the_same_command_continues_also_with_overwrite(run, stopped, tmp_path):
    saved = tmp_path / "out.run" / "checkpoint.pt"
    before = saved.read_bytes()
    steps = (tmp_path / "out.run" / "metrics.csv").read_text()
    assert run(*stopped).exit_code == 0
    assert before
    assert not saved.exists()
    assert (tmp_path / "out.run" / "metrics.csv").read_text() == steps


def test_a_damaged_state_is_replaced_only_with_overwrite(run, stopped, complaint, tmp_path):
    (tmp_path / "out.run" / "checkpoint.pt").write_bytes(b"damaged")
    assert "checkpoint.pt" in complaint(run(*(part for part in stopped if part != "--overwrite")))
    assert run(*stopped).exit_code == 0


def test_layers_that_the_method_kept_float_are_named_with_their_cost(tiny):
    network, wanted = tiny("edsr"), Policy(overrides=(Override("body.0.*", None),))
    assert kept_float(network, wanted, wanted) == []
    found = replace(wanted, overrides=(*wanted.overrides, Override("body.2", None)))
    (line,) = kept_float(network, wanted, found)
    share = re.search(r"body\.2 \((\d+\.\d)%\)", line)
    assert share is not None
    assert 0 < float(share[1]) < 100
    assert "body.0" not in line
    assert "--set keep_sensitive=false" in line
