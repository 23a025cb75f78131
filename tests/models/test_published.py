"""Luminance PSNR of public weights on the usual test pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from srquant.measure.quality.metrics import psnr_y
from srquant.models.load import load_model


def mean_psnr(network, folder) -> float:
    scale, values = network.facts.scale, []
    for file in sorted((folder / "HR").iterdir()):
        with Image.open(folder / "LR_bicubic" / f"X{scale}" / f"{file.stem}x{scale}.png") as image:
            low = np.array(image.convert("RGB"))
        with Image.open(file) as image:
            high = np.array(image.convert("RGB"))[: scale * low.shape[0], : scale * low.shape[1]]
        with torch.inference_mode():
            upscaled = network(torch.from_numpy(low).permute(2, 0, 1)[None] / 255.0)[0]
        pixels = (upscaled.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        values.append(psnr_y(pixels, high, scale))
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("weights", "scale", "expected"),
    [
        ("edsr/edsr_r8f64_x2.pt", 2, 37.80),
        ("edsr_like/rnet_r9f64_x4.pth", 4, 31.87),
        ("srresnet/srresnet_bn_r8f64_x4.pth", 4, 31.88),
        ("srresnet/msrresnet_branch1_x4.pth", 4, 31.69),
        ("carn/carn_m.pth", 2, 37.68),
        ("carn/carn_m.pth", 3, 34.06),
        ("carn/carn_m.pth", 4, 31.88),
        ("carn/carn_x2_only.pth", 2, 37.88),
        ("imdtn_swin/team09_imdtn_x4.pth", 4, 32.15),
        ("rfdn/RFDN_AIM_x4.pth", 4, 32.16),
        ("rlfn/rlfn_x4.pth", 4, 32.24),
        ("srvgg_compact/realesr-animevideov3.pth", 4, 28.23),
        ("span/team46_span_x4.pth", 4, 31.74),
        ("carn/carn_branch1_x4.pth", 4, 30.10),
        ("srresnet/srresnet_bn_r16f64_x4_tanh.pth", 4, 32.01),
        ("rdn/rdn_idealo_D10C3G64_x2.pth", 2, 36.65),
        ("rrdb/RealESRGAN_x4plus_anime_6B_fp16.pth", 4, 25.22),
    ],
)
def test_set5(weights, scale, expected, shared):
    network = load_model(shared / "weights" / weights, scale)
    assert mean_psnr(network, shared / "data" / "Set5") == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("edsr/edsr_r8f64_x2.pt", 33.37),
        ("carn/carn_x2_only.pth", 33.57),
    ],
)
def test_set14(weights, expected, shared):
    network = load_model(shared / "weights" / weights)
    assert mean_psnr(network, shared / "data" / "Set14") == pytest.approx(expected, abs=0.01)
