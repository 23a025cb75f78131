"""Small files that ask for much memory are refused before they get it."""

import pickletools
import struct
import subprocess
import sys
import zipfile

import pytest
import torch

from srquant.models.checkpoint_file.limits import ALWAYS, LARGEST_HEADER, MOST_OF_STRUCTURE
from srquant.models.checkpoint_file.pickle_cost import BYTES_PER_PART, PickleCost

EMPTY_LIST = b"]"


def repeated(path):
    torch.save({"head.0.weight": torch.zeros(1).expand(1 << 14, 1 << 14)}, path)


def repeated_in_legacy(path):
    torch.save({"w": torch.zeros(1).expand(1 << 40)}, path, _use_new_zipfile_serialization=False)


def rezipped(path, replaced, compression=zipfile.ZIP_DEFLATED):
    """Save a tensor, then pack the file again with other content of some entries."""
    torch.save({"w": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, replaced.get(name.partition("/")[2], data))


def packed_zeros(path):
    rezipped(path, {"data/0": bytes(4 * ALWAYS)})


def packed_structure(path):
    rezipped(path, {"data.pkl": b"\x80\x02" + EMPTY_LIST * 8 * MOST_OF_STRUCTURE})


def structure(path):
    rezipped(path, {"data.pkl": b"\x80\x02" + EMPTY_LIST * 2 * MOST_OF_STRUCTURE}, zipfile.ZIP_STORED)


def structure_in_legacy(path):
    text = b"X" + struct.pack("<I", MOST_OF_STRUCTURE) + b"a" * MOST_OF_STRUCTURE
    path.write_bytes(b"\x80\x02" + text * 3)


def raw_bytes(path):
    rezipped(path, {"data.pkl": b"\x80\x02c__builtin__\nbytearray\nJ" + struct.pack("<i", 2**31 - 1) + b"\x85R."})


def entry_twice(path):
    rezipped(path, {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"other")


def long_header(path):
    path.write_bytes((LARGEST_HEADER + 1).to_bytes(8, "little") + b"{" + b" " * LARGEST_HEADER + b"}" + b"\0")


BOMBS = {
    repeated: "its weights would take 1,073,741,824 bytes, head.0.weight alone is 16384 x 16384",
    repeated_in_legacy: "its weights would take 4,398,046,511,104 bytes, w alone is 1099511627776",
    packed_zeros: "it would be unpacked to 67,109,",
    packed_structure: "most of it describes other things than weights",
    structure: "most of it describes other things than weights",
    structure_in_legacy: "most of it describes other things than weights",
    raw_bytes: "holds raw bytes",
    entry_twice: "two entries of one name",
    long_header: "its header has 16,777,217 bytes, at most 16,777,216 are read",
}


@pytest.mark.parametrize(("make", "words"), BOMBS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refused(tmp_path, complaint, make, words):
    path = tmp_path / ("net.safetensors" if make is long_header else "net.pt")
    make(path)
    assert words in complaint(path)


SCRIPT = """
import resource, sys
from pathlib import Path
import torch
from srquant.errors import CheckpointError
from srquant.models.load import load_model
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
before = peak()
for path in map(Path, sys.argv[1:]):
    try:
        load_model(path)
    except CheckpointError:
        continue
    sys.exit(f"{path} was read")
print(peak() - before)
"""


def test_memory_stays_small(tmp_path):
    paths = [tmp_path / f"{make.__name__}.pt" for make in (repeated, repeated_in_legacy, packed_zeros, raw_bytes)]
    for path, make in zip(paths, (repeated, repeated_in_legacy, packed_zeros, raw_bytes), strict=True):
        make(path)
    done = subprocess.run([sys.executable, "-c", SCRIPT, *paths], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 48, "MiB above what the imports take"


def test_tied_half_precision_weights_of_training_fit(network, weights, tmp_path):
    """What honest checkpoints need stays allowed: half precision, shared weights, an optimizer, a packed file."""
    from srquant.models.load import load_model

    halves = {name: tensor.half() for name, tensor in weights.items()}
    moments = {i: {"exp_avg": t, "exp_avg_sq": t, "step": 5.0} for i, t in enumerate(weights.values())}
    content = {"model": halves, "net": halves, "optimizer": {"state": moments}, "losses": [0.5] * 10_000}
    torch.save(content, tmp_path / "net.pt")
    with zipfile.ZipFile(tmp_path / "net.pt") as archive, zipfile.ZipFile(tmp_path / "z.pt", "w", 8) as packed:
        for entry in archive.infolist():
            packed.writestr(entry.filename, archive.read(entry))
    for path in (tmp_path / "net.pt", tmp_path / "z.pt"):
        assert torch.equal(load_model(path).module.head[0].weight, network.module.head[0].weight.half().float())


def text(content: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content


def repeated_calls(function: bytes, arguments: bytes) -> bytes:
    """A list of a thousand results of one call with the same arguments."""
    return b"\x80\x02](c" + function + b"\nq\x01" + arguments + b"q\x02R" + b"h\x01h\x02R" * 1000 + b"e."


PAIRS = b"".join(b"q%ch%c\x86" % (i, i) for i in range(1, 60))
COSTS = {
    "a name of pairs of pairs": b"\x80\x02}K\x01" + PAIRS + b"K\x00s.",
    "many long texts": repeated_calls(b"_codecs\nencode", text(b"a" * 400_000) + text(b"utf-32") + b"\x86"),
    "many sets": repeated_calls(b"__builtin__\nset", b"](" + b"K\x01" * 10_000 + b"e\x85"),
    "many shapes": repeated_calls(b"torch\nSize", b"(" + b"K\x01" * 10_000 + b"t\x85"),
    "one stored tensor under many names": b"\x80\x02]("
    + b"".join(
        b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(key) + text(b"cpu") + b"J\xff\xff\xff\x00tQ"
        for key in (b"a", b"A")
    )
    + b"e.",
}


@pytest.mark.parametrize("content", COSTS.values(), ids=COSTS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_short_pickles_that_take_long_or_much(tmp_path, complaint, content, zipped):
    if zipped:
        rezipped(tmp_path / "net.pt", {"data.pkl": content})
    else:
        (tmp_path / "net.pt").write_bytes(content)
    assert "but loading it would take more than " in complaint(tmp_path / "net.pt")


def test_costs_are_counted():
    cost = PickleCost()
    pickle = b"\x80\x02c__builtin__\nset\n](K\x01K\x02" + text(b"a" * 160) + b"e\x85R."
    for operation, argument, _ in pickletools.genops(pickle):
        cost.follow(operation.name, argument)
    assert cost.bytes == BYTES_PER_PART * (1 + 1 + 1 + 11), "the list, two numbers, and a text of 160 characters"
    assert len(cost.stack) == 1


@pytest.mark.parametrize("damaged", [b"R.", b"h\x05.", b"e.", b"K\x01Q.", b")Q."])
def test_damaged_pickles(tmp_path, complaint, damaged):
    rezipped(tmp_path / "net.pt", {"data.pkl": b"\x80\x02" + damaged})
    assert "damaged or truncated" in complaint(tmp_path / "net.pt")
