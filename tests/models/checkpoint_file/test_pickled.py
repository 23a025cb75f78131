"""Nothing that a pickle names is called, but for PyTorch's own functions that make tensors."""

import collections
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from srquant.models.checkpoint_file.pickled import read_pickle
from srquant.models.checkpoint_file.safe_types import BESIDE, TENSORS, Left, LeftDict
from srquant.models.load import load_model

BEFORE = b"\x80\x02}X\x01\x00\x00\x00a"


def with_pickle(path, content: bytes) -> None:
    torch.save({"w": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, content if name.endswith("data.pkl") else data)


@pytest.mark.parametrize(
    "name", ["os system", "posix system", "builtins eval", "__builtin__ eval", "torch load", "torch.jit load"]
)
@pytest.mark.parametrize("operation", ["GLOBAL", "INST"])
def test_functions_are_refused_by_name(tmp_path, complaint, name, operation):
    module, function = name.split()
    call = {
        "GLOBAL": f"c{module}\n{function}\nX\x04\x00\x00\x00true\x85Rs.",
        "INST": f"(X\x04\x00\x00\x00truei{module}\n{function}\ns.",
    }
    with_pickle(tmp_path / "net.pt", BEFORE + call[operation].encode("latin-1"))
    assert f"would run code: {name.replace(' ', '.').replace('__builtin__', 'builtins')}" in complaint(
        tmp_path / "net.pt"
    )


def test_names_from_the_stack_are_refused(tmp_path, complaint):
    """``STACK_GLOBAL`` takes a name that is computed before; PyTorch's loader doesn't know it."""
    with_pickle(tmp_path / "net.pt", BEFORE + b"\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85Rs.")
    assert "not a PyTorch checkpoint" in complaint(tmp_path / "net.pt")


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_no_code_runs(tmp_path, complaint, zipped):
    torch.save({"a": Touch(tmp_path / "made")}, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    assert "would run code: io.open" in complaint(tmp_path / "net.pt")
    assert not (tmp_path / "made").exists()


def test_nothing_is_built_of_values_beside_the_weights(tmp_path):
    torch.save({"a": collections.defaultdict(list, b=[1]), "p": tmp_path, "w": torch.ones(1)}, tmp_path / "net.pt")
    content = read_pickle(tmp_path / "net.pt")
    assert type(content["a"]) is dict
    assert type(content["p"]) is Left
    assert set(BESIDE.values()) == {Left, LeftDict}
    assert not any(TENSORS.fullmatch(name) for name in BESIDE)


def test_the_list_of_the_process_stays_as_it_was(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save({"a": collections.defaultdict(int), "w": torch.ones(1)}, tmp_path / "net.pt")
    read_pickle(tmp_path / "net.pt")
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "net.pt", weights_only=True)


def test_several_threads_may_load(weights, tmp_path):
    torch.save({"model": weights, "a": collections.defaultdict(int)}, tmp_path / "net.pt")
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load_model, [tmp_path / "net.pt"] * 16))
    assert len(loaded) == 16


ODD = {
    "sparse tensors": lambda w: w.to_sparse(),
    "sparse tensors ": lambda w: w.reshape(4, 27).to_sparse_csr(),
    "quantized tensors": lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
    "nested tensors": lambda w: torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]),
    "tensors without values (device meta)": lambda w: w.to("meta"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "make"), ODD.items(), ids=ODD)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_odd_tensors(weights, tmp_path, complaint, kind, make, zipped):
    odd = {**weights, "head.0.weight": make(weights["head.0.weight"])}
    torch.save(odd, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    assert f"holds {kind.strip()}; save the state_dict()" in complaint(tmp_path / "net.pt")
