"""Training steps in float32 and bfloat16, a step under NCCL, and training on the float network's pictures."""

import csv
import subprocess
import sys
from pathlib import Path

import torch
from gpu_setting import Setting
from gpu_store import Store, first_line
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from srquant.data.find import list_images
from srquant.data.images import png_bytes, read_rgb
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.tiles.upscale_tiles import upscale_array

TIMED_STEPS = 60
MOST_PICTURES = 40


def training(setting: Setting, store: Store) -> None:
    """``srquant train`` in both precisions, then one step under NCCL (Gloo without CUDA)."""
    pictures, steps = pairs(setting), 2 if setting.small else TIMED_STEPS
    for precision in ("32", "bf16"):
        run = setting.work / f"train_{precision}"
        store.add(run=f"quantsr W4A4, precision {precision}", **train(setting, pictures, run, 4, steps, precision))
    try:
        store.add(run=f"a step with one process of {one_process(setting)}", steps=1)
    except Exception as error:  # a row as well
        store.add(run="a step with one process", note=first_line(error))


def qat(setting: Setting, store: Store) -> None:
    """QuantSR with the float network's pictures as targets, which distils the float network."""
    pictures = pairs(setting)
    for bits in (2, 4):
        row = train(setting, pictures, setting.work / f"qat_{bits}", bits, setting.qat_steps, "bf16")
        store.add(run=f"quantsr W{bits}A{bits}, float network's pictures", **row, **score(setting, bits))


def pairs(setting: Setting) -> tuple[Path, Path]:
    """Folders of low-resolution pictures and of what the float network makes of them; written once."""
    low, high = setting.work / "low", setting.work / "high"
    if high.is_dir():
        return low, high
    low.mkdir()
    high.mkdir()
    engine = TorchEngine(setting.network())
    for path in list_images(setting.pictures())[:MOST_PICTURES]:
        image = read_rgb(path)
        (low / f"{path.stem}.png").write_bytes(png_bytes(image))
        (high / f"{path.stem}.png").write_bytes(png_bytes(upscale_array(engine, image).astype("uint8")))
    return low, high


def train(
    setting: Setting, pictures: tuple[Path, Path], run: Path, bits: int, steps: int, precision: str
) -> dict[str, object]:
    """Run ``srquant train``; seconds per step from its log, or its error."""
    checkpoint = setting.work / "float.pt"
    if not checkpoint.exists():
        torch.save(setting.network().cpu().module.state_dict(), checkpoint)
    sizes = ("--batch", "2", "--patch", "8") if setting.small else ("--batch", "16", "--patch", "48")
    command = [sys.executable, "-m", "srquant", "train", "--method", "quantsr", "--init", checkpoint, "-w", bits]
    command += ["-a", bits, "--lr", pictures[0], "--hr", pictures[1], "--steps", steps, *sizes]
    command += ["--head-bits", "8", "--tail-bits", "8", "--log-every", max(1, steps // 3), "--precision", precision]
    command += ["--accelerator", setting.device.type, "-o", run, "--overwrite"]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if ended.returncode:
        return {"note": (ended.stderr.strip().splitlines() or ["no reason given"])[-1]}
    with (run / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    return {"steps": steps, "step_seconds": float(last["step_seconds"]), "loss": float(last["loss"])}


def score(setting: Setting, bits: int) -> dict[str, object]:
    """Y-PSNR of the trained network on Set5, if that is there."""
    from srquant.deploy.file.open_model import open_network

    folder = setting.work / f"qat_{bits}"
    files = sorted(folder.glob("*.safetensors"))
    if setting.shared is None or not files:
        return {}
    return {"set5_psnr": psnr(setting, open_network(files[0]).to(setting.device))}


def psnr(setting: Setting, network: nn.Module) -> float | None:
    """Y-PSNR on Set5 x4."""
    from functools import partial

    from srquant.data.benchmark import BenchmarkSet
    from srquant.measure.quality.scores import evaluate
    from srquant.upscale.tiles.upscale_tiles import upscale_tile

    if setting.shared is None:
        return None
    engine = TorchEngine(network)
    return evaluate(partial(upscale_tile, engine), BenchmarkSet(setting.shared / "data" / "Set5", 4), "torch").psnr_y


def one_process(setting: Setting) -> str:
    """One step of gradients that NCCL (on the CPU: Gloo) averages over one process; the backend's name."""
    backend = "nccl" if setting.device.type == "cuda" else "gloo"
    store = distributed.FileStore(str(setting.work / "rendezvous"), 1)
    distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        network = DistributedDataParallel(setting.network())
        network(torch.rand(1, 3, 16, 16, device=setting.device)).sum().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert gradients
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    finally:
        distributed.destroy_process_group()
    return backend
