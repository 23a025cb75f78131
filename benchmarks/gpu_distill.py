"""Learning from the float network without true pictures (method ``distill``) on the device."""

from typing import Any

from gpu_setting import Setting
from gpu_store import Store, first_line
from gpu_training import psnr

from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.registry import METHODS


def distill(setting: Setting, store: Store) -> None:
    """W4A4 and W2A2 with the normal effort, then with the longest; ``quick`` in small runs."""
    for effort in ("quick",) if setting.small else ("normal", "long"):
        for bits in (4, 2):
            try:
                store.add(method=f"distill W{bits}A{bits}", effort=effort, **distill_one(setting, bits, effort))
            except Exception as error:  # a row as well
                store.add(method=f"distill W{bits}A{bits}", effort=effort, note=first_line(error))


def distill_one(setting: Setting, bits: int, effort: str) -> dict[str, Any]:
    """Seconds and Y-PSNR on Set5."""
    method, network, made = METHODS["distill"], setting.network(), list[Any]()
    config = configure(method.config, [f"effort={effort}"])
    policy = Policy(LayerBits(bits, bits))
    seconds = setting.seconds(lambda: made.append(method.quantize(network, setting.calibration(), policy, config)))
    return {"seconds": seconds, "set5_psnr": psnr(setting, freeze(made[0]).network.to(setting.device))}
