"""Damage to every region of a quantized file: an error of ours or the identical network, nothing else.

Where the checksum is made to fit, as only somebody could who knows the format, the network may be another, but it must
run.
"""

import copy
import json
import random
import struct
import tracemalloc

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from srquant.deploy.file.save_load import checksum, load, save
from srquant.errors import InputError, QuantizedFileError
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.load import build

MOST_MEMORY = 2**24
"""Bytes that Python may allocate for a damaged file of 20 kB; NumPy counts, too."""


@pytest.fixture
def path(tmp_path, small_model):
    save(small_model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def attempt(path, small_model, upscaled):
    """Load altered content; returns whether it was refused."""
    expected = upscaled(small_model)

    def is_refused(content: bytes) -> bool:
        path.write_bytes(content)
        try:
            model = load(path)
        except QuantizedFileError:
            return True
        assert torch.equal(upscaled(model), expected)
        return False

    return is_refused


def regions(content: bytes) -> dict[str, tuple[int, int]]:
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length]
    start = 8 + header.index(b'"__metadata__"')
    end = 8 + header.index(b'"}', start - 8)
    return {
        "length": (0, 8),
        "metadata": (start, end),
        "tensor index": (end, 8 + length),
        "tensors": (8 + length, len(content)),
    }


def flip(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    where = chance.randrange(start, end)
    return content[:where] + bytes([content[where] ^ (1 << chance.randrange(8))]) + content[where + 1 :]


def overwrite(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    where, count = chance.randrange(start, end), chance.randint(1, 9)
    return content[:where] + chance.randbytes(count) + content[where + count :]


def insert(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    where = chance.randrange(start, end)
    return content[:where] + chance.randbytes(chance.randint(1, 9)) + content[where:]


def delete(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    where = chance.randrange(start, end)
    return content[:where] + content[where + chance.randint(1, 9) :]


def digit(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    """Keep the text readable: another digit in the place of one."""
    digits = [i for i in range(start, end) if content[i : i + 1].isdigit()]
    where = chance.choice(digits) if digits else start
    return content[:where] + str(chance.randrange(10)).encode() + content[where + 1 :]


@pytest.mark.parametrize("change", [flip, overwrite, insert, delete, digit], ids=lambda change: change.__name__)
@pytest.mark.parametrize("region", ["length", "metadata", "tensor index", "tensors"])
def test_damage_is_noticed_or_harmless(path, attempt, region, change):
    content, chance = path.read_bytes(), random.Random(f"{region} {change.__name__}")
    start, end = regions(content)[region]
    altered = [change(content, start, end, chance) for _ in range(40)]
    refused = [attempt(candidate) for candidate in altered if candidate != content]
    assert sum(refused) >= len(refused) * 0.8


def test_every_byte_of_the_first_tensor_and_of_the_length_counts(path, attempt):
    content = path.read_bytes()
    start, _ = regions(content)["tensors"]
    for where in (*range(8), *range(start, start + 40)):
        assert attempt(content[:where] + bytes([content[where] ^ 0x80]) + content[where + 1 :])


def test_truncated_anywhere(path, attempt):
    content = path.read_bytes()
    for length in (*range(12), *range(12, len(content), len(content) // 60), len(content) - 1):
        assert attempt(content[:length])


@pytest.mark.parametrize("more", [b"\0", b"{}", b"\xff" * 100], ids=["zero", "braces", "ff"])
def test_appended_bytes(path, attempt, more):
    assert attempt(path.read_bytes() + more)


VALUES = (None, True, False, -1, 0, 1, 2, 3, 8, 255, 10**9, 2**63, 10**400, 0.5, -2.5, 1e308, float("nan"), "", "x")
VALUES += ("body.0", "conv", [], [0], [1, 1], [-1, 2], [10**9] * 4, ["a"], [[1]], {}, {"a": 1}, "\ud800")


def places(value, path=()):
    """Every place of a JSON value, as keys from the outside."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def altered(fields, place, chance: random.Random):
    """A copy in which one place has another value, is gone, or is there under another name."""
    result = copy.deepcopy(fields)
    parent = result
    for key in place[:-1]:
        parent = parent[key]
    action = chance.random()
    if action < 0.15:
        del parent[place[-1]]
    elif action < 0.25:
        value = parent[place[-1]]
        parent.append(value) if isinstance(parent, list) else parent.update({f"{place[-1]}x": value})
    else:
        parent[place[-1]] = chance.choice(VALUES)
    return result


NETWORKS = {
    "edsr": {"blocks": 1, "features": 8, "scale": 2},
    "carn": {"features": 8, "groups": 4, "shared": True},
    "srresnet": {"blocks": 1, "features": 8, "batch_norm": False},
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16},
}


@pytest.mark.parametrize("architecture", NETWORKS)
def test_consistent_edits_of_the_header(tmp_path, freeze_by_policy, upscaled, architecture):
    path = tmp_path / "model.safetensors"
    save(freeze_by_policy(build(architecture, NETWORKS[architecture]), Policy(LayerBits(3, 4), skip_bits=8)), path)
    with safe_open(path, "pt") as file:
        fields = json.loads(file.metadata()["srquant"])
    tensors = load_file(path)
    del tensors["sha256"]
    upscaled(load(path))  # what PyTorch imports on the way is no memory of a damaged file
    chance, ran = random.Random(architecture), 0
    every = list(places(fields))
    for place in chance.sample(every, min(len(every), 100)) + list(places(fields["arguments"], ("arguments",))) * 8:
        header = json.dumps(altered(fields, place, chance))
        save_file(tensors | {"sha256": checksum(header, tensors)}, path, {"srquant": header})
        ran += runs(path, upscaled)
    assert ran > 0  # the policy and the origin may be edited


@pytest.mark.parametrize("seed", range(4))
def test_consistent_edits_of_the_tensors(path, upscaled, seed):
    with safe_open(path, "pt") as file:
        header = file.metadata()["srquant"]
    tensors, chance = load_file(path), random.Random(seed)
    del tensors["sha256"]
    upscaled(load(path))
    for name in chance.sample(sorted(tensors), 20):
        changed = tensors | {name: spoiled(tensors[name], chance)}
        save_file(changed | {"sha256": checksum(header, changed)}, path, {"srquant": header})
        runs(path, upscaled)


def spoiled(tensor: torch.Tensor, chance: random.Random) -> torch.Tensor:
    """Other bytes, another shape or another type."""
    raw = bytearray(tensor.numpy().tobytes())
    for _ in range(chance.randint(1, 8)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    other = torch.frombuffer(raw, dtype=tensor.dtype).reshape(tensor.shape)
    forms = [other, other, other.flatten(), other[:-1] if other.dim() else other[None], other.to(torch.float16)]
    forms += [
        torch.zeros(0, 2**40, dtype=tensor.dtype),
        other.bool(),
        other.bfloat16(),
        torch.zeros((), dtype=tensor.dtype),
    ]
    return chance.choice(forms).contiguous().clone()


def runs(path, upscaled) -> bool:
    """Whether a file loads and its network upscales; anything but an error of ours fails."""
    tracemalloc.start()
    try:
        model = load(path)
    except InputError:
        return False
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < MOST_MEMORY
    upscaled(model)
    return True


def test_a_header_of_many_lists_takes_no_memory(path):
    """18 MB are not read at all; 600 kB are, but nothing is built of them."""
    for count in (9 * 10**6, 3 * 10**5):
        save_file({"w": torch.ones(1)}, path, {"srquant": "[" + "[]" * count + "]"})
        tracemalloc.start()
        with pytest.raises(QuantizedFileError, match=r"header has 18,000,.* bytes|more than 262,144 lists"):
            load(path)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < MOST_MEMORY
