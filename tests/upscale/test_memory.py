"""Peak memory follows the tile, not the picture."""

import json
import subprocess
import sys
from pathlib import Path

import pyvips

RUN = """
import json, resource, sys
from pathlib import Path
from torch import nn
from srquant.models.network import Facts, Network
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs.one_picture import upscale_file

engine = TorchEngine(Network(nn.Upsample(scale_factor=2, mode="bilinear"), Facts("custom", 2, 1.0, (), ())))
peaks = []
for name in ("small", "large"):
    upscale_file(engine, Path(sys.argv[1], f"{name}.jpg"), Path(sys.argv[1], f"{name}-out.jpg"), tile=128)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps(peaks))
"""


def test_large_picture_takes_little_more_than_a_small_one(tmp_path: Path) -> None:
    wave = pyvips.Image.perlin(8192, 1536, cell_size=64, uchar=True)
    picture = wave.bandjoin([wave, wave]).copy(interpretation="srgb")
    picture.write_to_file(str(tmp_path / "large.jpg"))
    picture.crop(0, 0, 512, 512).write_to_file(str(tmp_path / "small.jpg"))
    run = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True)
    small, large = json.loads(run.stdout)
    result = pyvips.Image.new_from_file(str(tmp_path / "large-out.jpg"))
    assert (result.width, result.height) == (16384, 3072)
    assert large - small < 80e6, "the output alone is 151 MB"
