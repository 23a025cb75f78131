"""Files of wrapped networks hold their graph: they are loaded where no class of the network is known."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.graph_record import check_form
from srquant.deploy.file.save_load import CHECKSUM, HEADER, checksum, load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.errors import InputError, QuantizedFileError
from srquant.insertion.branched_network import BranchedNetwork
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.methods.registry import METHODS
from srquant.models.graph.trace import image_of
from srquant.models.network import Network
from srquant.models.wrap import wrap
from srquant.upscale.engines.open_engine import open_engine


class Gate(nn.Module):
    """A layer norm over channels, a linear layer, a gate, positions, and a mean that the code assigns."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.full((1, 3, 1, 1), 0.4)
        self.head, self.norm, self.mix = nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm(8), nn.Linear(8, 8)
        self.slope = nn.Parameter(torch.full((8, 1, 1), 0.2))
        self.body, self.tail = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        self.mean = self.mean.type_as(images)
        first = torch.relu(self.head(images - self.mean))
        mixed = first * torch.sigmoid(self.mix(self.norm(first.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        rows = torch.arange(images.shape[2], device=images.device, dtype=images.dtype) / images.shape[2]
        deep = self.body(mixed) * self.slope + first * rows[:, None]
        return nn.functional.pixel_shuffle(self.tail(deep), 2) + self.mean


class Windows(nn.Module):
    """Attention in windows: the number of windows is divided by the number of pictures, which fixes that number."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.qkv, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 24), nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.head(images)
        b, c, h, w = first.shape
        windows = first.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        q, k, v = self.qkv(windows).chunk(3, -1)
        mixed = torch.softmax(q @ k.transpose(1, 2), -1) @ v
        count = int(mixed.shape[0] / (h * w / 16))
        maps = mixed.view(count, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(count, c, h, w)
        return nn.functional.pixel_shuffle(self.tail(maps + first), 2)


class InPlace(nn.Module):
    """As RCAN: multiplies the picture that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 8), (8, 8), (8, 12))))

    def forward(self, images: Tensor) -> Tensor:
        images *= 2
        return nn.functional.pixel_shuffle(self.layers(images), 2)


class Assigns(InPlace):
    """As the masks of SwinIR: parts of a tensor are assigned; one layer is read and never run, as in Swin2SR."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        mask = torch.zeros_like(images)
        mask[:, :, 2:, :-3] = 1
        mask[:, :, :2] = self.read.weight[0].view(1, 3, 1, 1)
        return super().forward(images * mask)


MODULES = {"gate": (Gate, 1), "windows": (Windows, 4), "in place": (InPlace, 1), "assigns": (Assigns, 1)}


@pytest.fixture
def calibration(smooth_pictures) -> CalibrationSet:
    return CalibrationSet(smooth_pictures(3, 24, 24), count=3, seed=0, patch=16)


@pytest.fixture
def frozen(calibration):
    def quantize(name: str, method: str = "minmax", policy: Policy | None = None) -> FrozenModel:
        make, multiple_of = MODULES[name]
        known = METHODS[method]
        network = wrap(make().eval(), 2, multiple_of=multiple_of)
        return freeze(known.quantize(network, calibration, policy or Policy(), known.config()))

    return quantize


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


def picture(network: Network, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images.clone())


@pytest.mark.parametrize("name", MODULES)
def test_a_loaded_network_gives_the_same_bits(frozen, path, name):
    model = frozen(name)
    save(model, path)
    loaded = load(path)
    for shape in [(1, 3, 12, 20), (3, 3, 16, 8)]:
        images = torch.rand(shape)
        assert torch.equal(picture(loaded.network, images), picture(model.network, images))
    assert loaded.specs.keys() == model.specs.keys()


@pytest.mark.parametrize("name", MODULES)
def test_engines_run_a_loaded_network(frozen, path, name):
    save(frozen(name), path)
    loaded, images = load(path), torch.rand(2, 3, 12, 20)
    expected = picture(loaded.network, images)
    for engine in ("openvino", "onnxruntime"):
        found = torch.from_numpy(open_engine(engine, loaded.network)(images.numpy()))
        assert ((found - expected).abs() > 1e-4).float().mean() < 0.02  # a gate moves a value over the border of a code


@pytest.mark.parametrize("name", MODULES)
def test_saved_again_it_is_the_same_file(frozen, path, tmp_path, name):
    save(frozen(name), path)
    save(load(path), tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_pictures_may_have_another_order_in_memory(frozen, path):
    save(frozen("windows"), path)
    network, images = load(path).network, torch.rand(1, 3, 12, 20)
    assert torch.equal(picture(network, images.to(memory_format=torch.channels_last)), picture(network, images))


def test_a_value_range_without_a_point_is_kept(calibration, path):
    network = wrap(InPlace().eval(), 2, value_range=255)
    method = METHODS["minmax"]
    save(freeze(method.quantize(network, calibration, Policy(), method.config())), path)
    assert load(path).network.facts.value_range == 255.0


def test_layers_that_stay_float_are_kept(frozen, path):
    policy = Policy(LayerBits(4, 4), head=None, overrides=(Override("mix", None),))
    model = frozen("gate", policy=policy)
    save(model, path)
    images = torch.rand(1, 3, 9, 11)
    assert torch.equal(picture(load(path).network, images), picture(model.network, images))
    assert sorted(load(path).specs) == ["body", "tail"]


def test_branches_are_kept(frozen, path):
    model = frozen("gate", "adabm", Policy(LayerBits(4, 4)))
    assert isinstance(model.network, BranchedNetwork)
    save(model, path)
    loaded = load(path)
    assert isinstance(loaded.network, BranchedNetwork)
    images = torch.rand(2, 3, 12, 12)
    assert torch.equal(picture(loaded.network, images), picture(model.network, images))


def test_steps_that_make_tensors_follow_the_pictures_device(frozen, path):
    save(frozen("gate"), path)
    graph = load(path).network.module.graph
    (made,) = (node for node in graph.nodes if str(node.target) == "aten.arange.start_step")
    assert made.kwargs["device"].args == (image_of(graph), "device")


DAMAGES = {
    "operator": (lambda g: _first(g, "call_function").__setitem__(1, "aten.system.default"), "aten.system.default"),
    "python": (lambda g: _first(g, "call_function").__setitem__(1, "builtins.eval"), "builtins.eval"),
    "random": (lambda g: _first(g, "call_function").__setitem__(1, "aten.rand.default"), "aten.rand.default"),
    "kind": (lambda g: g["nodes"][3].__setitem__(0, "call_method"), "call_method"),
    "cycle": (lambda g: _first(g, "call_function")[2].__setitem__(0, {"$node": len(g["nodes"]) - 2}), "earlier node"),
    "itself": (lambda g: g["nodes"][-1][2].__setitem__(0, {"$node": len(g["nodes"]) - 1}), "earlier node"),
    "negative node": (lambda g: g["nodes"][-1][2].__setitem__(0, {"$node": -1}), "earlier node"),
    "not a node": (lambda g: g["nodes"].append(7), "need .kind, target"),
    "no output": (lambda g: g["nodes"].pop(), "0 outputs"),
    "two pictures": (lambda g: g["nodes"].insert(0, ["placeholder", "image", [], {}]), "argument|inputs"),
    "unknown layer": (lambda g: g["layers"].pop("body"), "'body'"),
    "shape": (lambda g: g["layers"]["body"]["shape"].__setitem__(0, 10), "can't run"),
    "huge layer": (lambda g: g["layers"]["body"]["shape"].__setitem__(0, 2**40), "1 to 65536"),
    "absurd factor": (
        lambda g: g["layers"].update(more={"kind": "sum", "scale": 1e38}),
        "layer 'more': field 'scale' is 1e.38, need at most 1e.12",
    ),
    "scale": (lambda g: g["facts"].update(scale=3), "66, 88. of a picture"),
    "value range": (lambda g: g["facts"].update(value_range=-1.0), "value_range"),
    "unknown fact": (lambda g: g["facts"].update(path="/"), "unknown fields"),
    "unknown layer field": (lambda g: g["layers"]["mix"].update(path="/"), "unknown fields"),
    "layers": (lambda g: g.update(layers=[]), "need an object"),
    "nodes": (lambda g: g.update(nodes={}), "need a list"),
    "huge": (lambda g: _output_of(g, "aten.full.default", [[2**40], 1.0]), "too large"),
    "huge by repetition": (
        lambda g: _output_of(g, "aten.repeat.default", [{"$node": _image(g)}, [1, 2**20, 2**20, 1]]),
        "too large",
    ),
}


def _image(graph: dict) -> int:
    return [node[0] for node in graph["nodes"]].index("placeholder")


def _first(graph: dict, kind: str) -> list:
    return next(node for node in graph["nodes"] if node[0] == kind and node[2])


def _output_of(graph: dict, operator: str, arguments: list) -> None:
    """Put a node before the last one, which returns it."""
    graph["nodes"].insert(-1, ["call_function", operator, arguments, {}])
    graph["nodes"][-1][2][0] = {"$node": len(graph["nodes"]) - 2}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_graph_that_contradicts_is_refused(frozen, path, damage):
    save(frozen("gate"), path)
    change, message = DAMAGES[damage]
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[HEADER])
    change(header["graph"])
    tensors = load_file(path)
    del tensors[CHECKSUM]
    text = json.dumps(header)
    save_file(tensors | {CHECKSUM: checksum(text, tensors)}, path, {HEADER: text})
    with pytest.raises(QuantizedFileError, match=message):
        load(path)


class Bessel(nn.Module):
    """An operator that files don't know."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.tail(torch.special.bessel_j0(images)), 2)


def test_what_files_have_no_form_for_is_known_before_quantizing():
    check_form(wrap(Gate(), 2))
    with pytest.raises(InputError, match="bessel_j0"):
        check_form(wrap(Bessel(), 2))
