"""Time of EDSR's body: Triton's int8 kernels against PyTorch in 16 bits, as it is and compiled."""

from collections.abc import Callable

import torch
from gpu_setting import Setting
from gpu_store import Store, first_line
from torch import Tensor, nn

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.speed.timing import interleave
from srquant.methods.registry import METHODS
from srquant.models.network import Facts, Network

SIZES = ((180, 320), (540, 960), (1080, 1920))
SMALL_SIZES = ((8, 12),)
ROUNDS, REPEATS = 15, 5
CHECKED = (40, 56)
"""Height and width at which the kernels are compared with PyTorch on the CPU."""


class Body(nn.Module):
    """EDSR from the first to the last sum: features to features."""

    def __init__(self, edsr: nn.Module) -> None:
        super().__init__()
        self.body, self.add = edsr.body, edsr.add

    def forward(self, features: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.add(features, self.body(features))
        return total


def body_of(network: Network) -> Network:
    """The body as a network."""
    return Network(Body(network.module), Facts("body", 1, 1.0, (), ()))


def frozen_body(setting: Setting, skip: bool) -> Network:
    """The body quantized to W4A4, on the CPU; sums float or in 8 bits."""
    network, pictures = setting.network().cpu(), setting.pictures()
    policy = Policy(LayerBits(4, 4), skip_bits=8 if skip else None)
    calibration = CalibrationSet(pictures, 4, patch=16)
    return body_of(freeze(METHODS["minmax"].quantize(network, calibration, policy, METHODS["minmax"].config())).network)


def engines(setting: Setting, store: Store) -> None:
    """Compare the kernels with PyTorch, then time all engines at every size."""
    frozen = {name: frozen_body(setting, skip) for name, skip in (("triton", False), ("triton, 8-bit sums", True))}
    runs = {**triton_runs(setting, store, frozen), **torch_runs(setting)}
    for height, width in SMALL_SIZES if setting.small else SIZES:
        time_size(setting, store, runs, height, width)


def features(setting: Setting, height: int, width: int) -> Tensor:
    """Random features as the head gives them, channels last."""
    channels = 8 if setting.small else 64
    random = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0)) * 20
    return random.to(setting.device).contiguous(memory_format=torch.channels_last)


Run = Callable[[Tensor], Tensor]


def triton_runs(setting: Setting, store: Store, frozen: dict[str, Network]) -> dict[str, Run]:
    """The kernels, if they run here; a row says whether they give PyTorch's bits."""
    from srquant.deploy.triton.available import require_triton
    from srquant.deploy.triton.cuda_graph import GraphRunner
    from srquant.deploy.triton.prepare import prepare

    runs: dict[str, Run] = {}
    for name, network in frozen.items():
        try:
            require_triton(setting.device)
            prepared = prepare(network.to(setting.device))
            runs[name] = GraphRunner(prepared) if setting.device.type == "cuda" else prepared
            checked = features(setting, *(SMALL_SIZES[0] if setting.small else CHECKED))
            with torch.inference_mode():
                found, wanted = runs[name](checked).cpu(), network.cpu()(checked.cpu())
            store.add(engine=name, same_bits=bool(torch.equal(found, wanted)))
        except Exception as error:  # a row as well
            runs.pop(name, None)
            store.add(engine=name, note=first_line(error))
    return runs


def torch_runs(setting: Setting) -> dict[str, Run]:
    """Float networks in 16 bits, channels last; compiled for one size each."""
    runs: dict[str, Run] = {}
    for name, dtype in (("float16", torch.float16), ("bfloat16", torch.bfloat16)):
        module = body_of(setting.network()).to(setting.device, dtype, memory_format=torch.channels_last)
        runs[name] = lambda x, module=module, dtype=dtype: module(x.to(dtype))
    half = body_of(setting.network()).to(setting.device, torch.float16, memory_format=torch.channels_last)
    how = {"backend": "eager"} if setting.small else {"mode": "max-autotune"}
    compiled = torch.compile(half, dynamic=False, **how)
    runs[f"float16, compiled ({next(iter(how.values()))})"] = lambda x: compiled(x.to(torch.float16))
    return runs


def time_size(setting: Setting, store: Store, runs: dict[str, Run], height: int, width: int) -> None:
    """One row per engine."""
    images, ready = features(setting, height, width), dict[str, Callable[[], float]]()
    halves = {name: images if name.startswith("triton") else images.half() for name in runs}
    repeats = 1 if setting.small else REPEATS
    with torch.inference_mode():
        for name, run in runs.items():
            try:
                for _ in range(1 if setting.small else 3):
                    run(halves[name])
                ready[name] = lambda run=run, x=halves[name]: milliseconds(setting, run, x, repeats)
            except Exception as error:  # a row as well
                store.add(engine=name, size=f"{height}x{width}", note=first_line(error))
        timings = interleave(ready, 1 if setting.small else ROUNDS)
    for name, t in timings.items():
        store.add(engine=name, size=f"{height}x{width}", median_ms=t.median_ms, min_ms=t.min_ms, max_ms=t.max_ms)


def milliseconds(setting: Setting, run: Run, images: Tensor, repeats: int) -> float:
    """Of one call, the mean of several in a row."""
    return 1000 * setting.seconds(lambda: [run(images) for _ in range(repeats)]) / repeats
