"""Names of devices, and full precision of float32."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from srquant.devices import available_devices, double, find_device, free_memory, full_float32, quotient, tf32_gradients
from srquant.errors import InputError
from srquant.grids.uniform import step_size


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_the_best_device_is_chosen(two_gpus):
    assert find_device("auto") == torch.device("cuda")
    assert available_devices()[:4] == ["cpu", "cuda", "cuda:0", "cuda:1"]
    assert find_device("cuda:1") == torch.device("cuda:1")
    assert find_device("cpu") == torch.device("cpu")


def test_mps_comes_before_the_cpu(no_gpu, monkeypatch):
    assert find_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto") == find_device("mps") == torch.device("mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "meta", ""])
def test_bad_names(no_gpu, name):
    with pytest.raises(InputError, match=f"--device {name}: use auto, cpu, cuda, cuda:N or mps; this machine has cpu"):
        find_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_missing_devices(no_gpu, name):
    with pytest.raises(InputError, match=f"--device {name}: this machine has no such device, only cpu$"):
        find_device(name)


def test_missing_number(two_gpus):
    with pytest.raises(
        InputError, match="--device cuda:2: this machine has no such device, only cpu, cuda, cuda:0, cuda:1"
    ):
        find_device("cuda:2")


def test_free_memory():
    assert free_memory(torch.device("cpu")) > 2**20
    assert free_memory(torch.device("meta")) == 0


def test_double():
    assert double(torch.ones(2)).dtype == torch.float64


def test_without_tf32_inside_only():
    convolutions, products = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision

    @full_float32()
    def inside():
        return convolutions.fp32_precision, products.fp32_precision

    assert inside() == inside() == ("ieee", "ieee")
    assert (convolutions.fp32_precision, products.fp32_precision) == before
    with pytest.raises(ValueError, match="stop"), full_float32():
        raise ValueError("stop")
    assert (convolutions.fp32_precision, products.fp32_precision) == before


def test_tf32_inside_only():
    convolutions, products = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    with full_float32():
        with tf32_gradients():
            assert (convolutions.fp32_precision, products.fp32_precision) == ("tf32", "tf32")
        assert (convolutions.fp32_precision, products.fp32_precision) == ("ieee", "ieee")


class Divisors(TorchDispatchMode):
    """Notes the devices of what is divided by."""

    def __init__(self):
        super().__init__()
        self.devices = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.div:
            self.devices.append(args[1].device.type if isinstance(args[1], torch.Tensor) else "number")
        return func(*args, **(kwargs or {}))


def test_elsewhere_than_on_the_cpu_the_divisor_is_a_tensor_there():
    """CUDA rounds the quotient correctly only then; a Python number would become its inverse."""
    with Divisors() as noted:
        quotient(torch.ones(3, device="meta"), 15)
        step_size(torch.zeros((), device="meta"), torch.ones((), device="meta"), 16)
    assert noted.devices == ["meta", "meta"]
    x = torch.rand(1000)
    assert torch.equal(quotient(x, 15), x / 15)
