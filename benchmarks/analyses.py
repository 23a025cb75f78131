"""Every analysis of ``srquant analyse`` for EDSR r8f64 x2: the networks that it needs, then numbers and figures.

    python benchmarks/analyses.py -o RUNS                                     what isn't there yet
    python benchmarks/analyses.py -o RUNS --only 'progress'                   one of them
    python benchmarks/analyses.py -o RUNS --assemble docs/results             figures, small tables and the page

Each is one command of srquant with one thread. Finished ones are not repeated; interrupted trainings continue. Weights
and pictures: ``$SRQUANT_SHARED``. Pictures that figures show are those of gb82, which are in the public domain (CC0).
"""

import argparse
import datetime
import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from analyses_page import LARGEST, Made, page
from ptq_run import shared
from report import machine

from srquant.data.images import png_bytes, read_rgb
from srquant.data.resize import downscale

SHARED = "$SRQUANT_SHARED"
MODEL = f"{SHARED}/weights/edsr/edsr_r8f64_x2.pt"
CROPS = f"--calibration {SHARED}/data/DIV2K_test_LR/LR_bicubic/X4"
TRAIN = f"--init {MODEL} --hr {SHARED}/data/BSDS500_train/HR --batch 8 --patch 32"
TENSOR = "--granularity tensor --activation-granularity tensor"
SHOWN = ("city", "flowers", "house")
"""Pictures of gb82 that are upscaled from half their size."""

VALIDATED, SIDE = "crops_of_gb82", 192
"""Set of their middle parts, on which learning networks are measured often; its name, and their side in pixels."""

PICTURES = " ".join(f"{name}.png" for name in SHOWN)

NETWORKS = {
    "w8a8_tails": f"quantize {MODEL} {CROPS} --method tails --activation-granularity channel -w 8 -a 8",
    "w4a4_mse": f"quantize {MODEL} {CROPS} --method mse -w 4 -a 4",
    "w4a4_outlier_aware": f"quantize {MODEL} {CROPS} --method outlier-aware --set rates=relative -w 4 -a 4",
    "w4a4_distill": f"quantize {MODEL} {CROPS} --method distill --effort quick {TENSOR} -w 4 -a 4",
    "w2a2_distill": f"quantize {MODEL} {CROPS} --method distill --effort quick {TENSOR} -w 2 -a 2",
    "w4a4_gba": f"quantize {MODEL} {CROPS} --count 16 --method gba --set mixed=both --set rates=relative -w 4 -a 4",
    "w4a4_gba_2": f"quantize {MODEL} {CROPS} --count 16 --method gba --set mixed=both --set rates=relative "
    "--set largest=2 -w 4 -a 4",
    "w4a4_adabm": f"quantize {MODEL} {CROPS} --count 16 --method adabm -w 4 -a 4",
}
"""Quantized files of the analyses; GBA's and AdaBM's learn from few crops."""

RUNS = {
    "dorefa_w2a2": f"train {TRAIN} --method dorefa -w 2 -a 2 --set most_change=0.01 --steps 200 --log-every 20",
    "dorefa_w4a4": f"train {TRAIN} --method dorefa -w 4 -a 4 --set most_change=0.01 --steps 100 --log-every 20",
    "quantsr_w2a2": f"train {TRAIN} --method quantsr -w 2 -a 2 --set depths=8 --steps 200 --log-every 10 "
    "--checkpoint-every 200",
    "cadyq": f"train --init {MODEL} --hr {SHARED}/data/BSDS500_train/HR --batch 4 --patch 32 --method cadyq -w 8 -a 8 "
    "--override body.8=float --set most_change=0.01 --set rates=relative --set bit_weight=1e-3 "
    "--set selector_rate=1e-3 --steps 240",
}
"""Short trainings: they show what an analysis shows, not how good a method becomes."""

FOUR_BITS = "w4a4_mse.safetensors w4a4_outlier_aware.safetensors w4a4_distill.safetensors"
ANALYSES = {
    "variance": f"variance {MODEL} {CROPS}",
    "sensitivity": f"sensitivity {MODEL} {CROPS} -w 4 -a 4",
    "bits": "bits w4a4_gba.safetensors w4a4_gba_2.safetensors w4a4_adabm.safetensors",
    "picture_bits_adabm": f"picture-bits w4a4_adabm.safetensors {PICTURES} --patch 36",
    "picture_bits_cadyq": f"picture-bits cadyq/model.safetensors {PICTURES} --patch 36",
    "progress": f"progress {MODEL} {CROPS} --count 24 --patch 32 --every 12 --data {VALIDATED} -w 4 -a 4 "
    "--method gba:rates=relative:epochs=4 --method adabm:epochs=6 --method adabm:rates=relative:epochs=6 "
    "--method outlier-aware:rates=relative:epochs=6 --method 2dquant:rates=relative:iterations=72 "
    "--method mse:finetune=together",
    "distributions": f"distributions {MODEL} w8a8_tails.safetensors {FOUR_BITS} {CROPS}",
    "clipping": f"clipping {MODEL} flowers.png",
    "steps": "steps quantsr_w2a2",
    "gradients": f"gradients quantsr_w2a2 --init {MODEL} --hr {SHARED}/data/BSDS500_train/HR",
    "features": f"features {MODEL} dorefa_w2a2/model.safetensors dorefa_w4a4/model.safetensors "
    "quantsr_w2a2/model.safetensors --picture city.png",
    "crops": f"crops {MODEL} {FOUR_BITS} w2a2_distill.safetensors --picture city.png --original city_original.png "
    "--side 40",
}


@dataclass(frozen=True)
class Job:
    """A command, the file or folder that it writes, and the file that is there when it is done."""

    name: str
    command: str
    output: str
    finished: str

    def line(self) -> str:
        """The command as one types it in the folder of the runs."""
        return f"srquant {self.command} -o {self.output}"


def jobs() -> list[Job]:
    """All commands in their order."""
    return [
        *(Job(name, command, f"{name}.safetensors", f"{name}.safetensors") for name, command in NETWORKS.items()),
        *(Job(name, command, name, f"{name}/model.safetensors") for name, command in RUNS.items()),
        *(Job(name, f"analyse {command}", name, f"{name}.json") for name, command in ANALYSES.items()),
    ]


def write_pictures(folder: Path) -> None:
    """The pictures that are shown: an even part of each original, and half of its size."""
    for name in SHOWN:
        high = read_rgb(shared() / "data" / "gb82" / "HR" / f"{name}-lossless.png")
        height, width = (size // 2 * 2 for size in high.shape[:2])
        (folder / f"{name}_original.png").write_bytes(png_bytes(high[:height, :width]))
        (folder / f"{name}.png").write_bytes(png_bytes(downscale(high[:height, :width], 2)))
        top, left = (height - SIDE) // 2, (width - SIDE) // 2
        (folder / VALIDATED / "HR").mkdir(parents=True, exist_ok=True)
        crop = high[top : top + SIDE, left : left + SIDE]
        (folder / VALIDATED / "HR" / f"{name}.png").write_bytes(png_bytes(crop))


def run(job: Job, folder: Path) -> None:
    """Run a command in the folder of the runs; analyses leave a record of when, where and how long."""
    is_analysis = job.name in ANALYSES
    print(job.line(), flush=True)
    words = [word.replace(SHARED, str(shared())) for word in shlex.split(f"{job.command} -o {job.output}")]
    again = ["--overwrite"] if is_analysis else []
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "srquant", *words, *again], cwd=folder, env=environment, check=True)
    if is_analysis:
        made = {"machine": machine(), "date": datetime.date.today().isoformat()}
        record = {"command": job.line(), **made, "seconds": round(time.perf_counter() - start, 1)}
        (folder / job.finished).write_text(json.dumps(record, indent=2) + "\n")


def assemble(folder: Path, target: Path) -> None:
    """Copy figures and small tables, and write the page; analyses that weren't run are left out."""
    made: dict[str, Made] = {}
    for job in jobs():
        if job.name in ANALYSES and (folder / job.finished).exists():
            made[job.name] = Made(**json.loads((folder / job.finished).read_text()))
            copy_small(folder / job.output, target / "analyses" / job.name)
    networks = [job.line() for job in jobs() if job.name not in ANALYSES]
    (target / "analyses.md").write_text(page(made, networks, target / "analyses"))


def copy_small(folder: Path, target: Path) -> None:
    """Copy the files of a folder that aren't too large."""
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.stat().st_size <= LARGEST:
            shutil.copyfile(path, target / path.name)


def main() -> None:
    """Read the command line and run what is missing, or assemble the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument(
        "--only", default="*", help="names of networks, trainings and analyses (* and ? as in file names)"
    )
    parser.add_argument("--assemble", type=Path, help="folder for the page: docs/results")
    chosen = parser.parse_args()
    if chosen.assemble is not None:
        assemble(chosen.output, chosen.assemble)
        return
    chosen.output.mkdir(parents=True, exist_ok=True)
    write_pictures(chosen.output)
    for job in jobs():
        if fnmatch.fnmatch(job.name, chosen.only) and not (chosen.output / job.finished).exists():
            run(job, chosen.output)


if __name__ == "__main__":
    main()
