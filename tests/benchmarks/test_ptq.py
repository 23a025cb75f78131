"""The benchmark of post-training quantization: one run, resuming, tables, bars."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from ptq import unfinished
from ptq_bars import Above, AtLeast, Near, _answer
from ptq_networks import NETWORKS
from ptq_origin import code_version, origin
from ptq_papers import drops
from ptq_results import Entry, Score, entries
from ptq_rows import ROWS, runs
from ptq_run import Kept, Run, from_json, make, shared, write
from ptq_runs import restore
from ptq_store import Store
from ptq_tables import assemble, versions

from srquant.devices import CPU
from srquant.errors import InputError
from srquant.methods.distill.saved import Saved
from srquant.models.architectures.edsr import EDSR

ROOT = Path(__file__).parents[2]
SCRIPT, RESULTS = ROOT / "benchmarks" / "ptq.py", ROOT / "docs" / "results"


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """``weights/edsr.pt``, ``data/calibration`` and ``data/Tiny/HR``."""
    torch.save(EDSR(1, 8, 2).state_dict(), made(tmp_path / "weights" / "edsr.pt"))
    for i in range(4):
        write_picture(made(tmp_path / "data" / "calibration" / f"{i}.png"), 32, 40, i)
    write_picture(made(tmp_path / "data" / "Tiny" / "HR" / "a.png"), 44, 48, 9)
    monkeypatch.setenv("SRQUANT_SHARED", str(tmp_path))
    return tmp_path


def made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_picture(path, height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pyvips.Image.new_from_array(pixels, interpretation="srgb").gaussblur(1).write_to_file(str(path))


@pytest.fixture
def run():
    return Run(
        network="edsr_r8f64_x2",
        label="minmax",
        bits=4,
        seed=0,
        method="minmax",
        settings=("momentum=0.5",),
        layers=("conv", "linear"),
        count=4,
        patch=24,
        weights="weights/edsr.pt",
        calibration="data/calibration",
        sets=("data/Tiny",),
    )


def result_of(run, path):
    make(run, path, CPU)
    return json.loads(path.read_text())["result"]


def test_a_run_measures_quality_and_costs(tmp_path, pictures, run):
    result = result_of(run, tmp_path / "run.json")
    assert list(tmp_path.glob("run*")) == [tmp_path / "run.json"]
    (score,) = result["scores"]
    assert (score["set"], score["fab"], result["engine"], result["ranges"]) == ("Tiny", 4, "openvino", "static")
    assert abs(score["psnr_y"] - result["torch_psnr_y"]) < 0.01
    assert 3 < result["effective_activation_bits"] <= 4
    assert result["size_bytes"] < result["float_size_bytes"]
    assert result["peak_bytes"] > 1e7


def test_a_float_run_has_scores_only(tmp_path, pictures, run):
    result = result_of(replace(run, method="float", label="float"), tmp_path / "run.json")
    assert result.keys() == {"engine", "scores"}


def test_a_network_is_quantized_once_and_measured_later(tmp_path, pictures, run, monkeypatch):
    whole, path = result_of(run, tmp_path / "whole.json"), tmp_path / "parts" / "run.json"
    make(run, path, CPU, quantize_only=True)
    assert not path.exists()
    assert Kept(path).network.exists()
    with monkeypatch.context() as patch:
        patch.setattr("ptq_run.quantize", lambda *_: pytest.fail("quantized again"))
        later = result_of(run, path)
    assert (later["scores"], later["size_bytes"]) == (whole["scores"], whole["size_bytes"])
    assert list(path.parent.iterdir()) == [path]


def test_a_kept_network_of_other_settings_is_made_again(tmp_path, pictures, run):
    path = tmp_path / "run.json"
    make(run, path, CPU, quantize_only=True)
    assert Kept(path).read(run)["code"] == code_version()
    assert Kept(path).read(replace(run, seed=1)) is None


def test_a_stopped_run_that_learns_is_continued(tmp_path, pictures, run, monkeypatch):
    """Stopped after its second save, the run ends with the same scores and curve; times are those of neither."""
    learns = replace(run, method="distill", label="distill", settings=("steps=6", "batch=2"))
    whole = result_of(learns, tmp_path / "whole.json")
    assert [row["step"] for row in whole["curve"]] == [1, 2, 3, 4, 5, 6]
    path, save, times = tmp_path / "stopped.json", Saved.save, []

    def stop(self, state):
        save(self, state)
        times.append(state.steps)
        if len(times) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Saved, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            result_of(learns, path)
    again = result_of(learns, path)
    assert list(tmp_path.glob("stopped*")) == [path]
    assert (again["scores"], again["curve"]) == (whole["scores"], whole["curve"])
    assert whole["seconds"] > 0
    assert again["seconds"] is None


def test_settings_survive_the_command_line(run):
    assert from_json(json.dumps(asdict(run))) == run


def test_finished_runs_are_found_again(tmp_path, pictures, run):
    store = Store(tmp_path / "runs", pictures, {"count": None})
    assert not store.has(run)
    assert store.result(run) is None
    write({"run": asdict(run), **origin(pictures), "result": {"x": 1}}, store.path(run))
    assert Store(tmp_path / "runs", pictures, {"count": None}).result(run) == {"x": 1}


def test_resuming_with_other_settings_shows_the_difference(tmp_path, pictures, run):
    store = Store(tmp_path / "runs", pictures, {"count": None})
    write({"run": asdict(run), **origin(pictures), "result": {}}, store.path(run))
    with pytest.raises(InputError, match=r"seed0.json .*patch was 24, now 48\. Give another folder"):
        store.has(replace(run, patch=48))
    with pytest.raises(InputError, match=r"settings was \['momentum=0.5'\], now \[\]"):
        store.has(replace(run, settings=()))
    with pytest.raises(InputError, match=r"manifest.json .*count was None, now 5"):
        Store(tmp_path / "runs", pictures, {"count": 5})
    (pictures / "data" / "Tiny" / "HR" / "a.png").write_bytes(b"other")
    with pytest.raises(InputError, match="data was"):
        Store(tmp_path / "runs", pictures, {"count": None})
    (tmp_path / "runs" / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"seed0.json .*data was"):
        Store(tmp_path / "runs", pictures, {"count": None}).has(run)


@pytest.mark.parametrize(("text", "says"), [("{", "is no JSON"), ('{"run": {}}', "has no code, data, result")])
def test_a_damaged_run_is_named(tmp_path, pictures, run, text, says):
    store = Store(tmp_path / "runs", pictures, {})
    made(store.path(run)).write_text(text)
    with pytest.raises(InputError, match=f"seed0.json {says}.*delete it"):
        store.has(run)


def test_a_run_that_says_no_granularity_had_one_grid_per_tensor(tmp_path, pictures, run):
    store = Store(tmp_path / "runs", pictures, {})
    older = {name: value for name, value in asdict(run).items() if name != "granularity"}
    write({"run": older, **origin(pictures), "result": {}}, store.path(run))
    assert store.has(run)
    with pytest.raises(InputError, match="granularity was 'tensor', now 'channel'"):
        store.has(replace(run, granularity="channel"))


def test_what_another_version_of_the_code_made_is_run_again_on_request(tmp_path, pictures, run):
    store = Store(tmp_path / "runs", pictures, {})
    stale = replace(run, seed=1)
    write({"run": asdict(run), **origin(pictures), "result": {}}, store.path(run))
    write({"run": asdict(stale), **origin(pictures), "code": "older", "result": {}}, store.path(stale))
    missing = replace(run, seed=2)
    assert unfinished([run, stale, missing], store, stale=False) == [missing]
    assert unfinished([run, stale, missing], store, stale=True) == [stale, missing]
    assert f"{origin(pictures)['code']} (1), older (1); 1 aren't finished" in versions([run, stale, missing], store)


def test_rows_have_files_of_their_own(tmp_path, pictures):
    store = Store(tmp_path / "runs", pictures, {})
    paths = [store.path(run) for run in runs()]
    assert len(set(paths)) == len(paths)


def test_runs_of_four_bits_and_the_first_seed_come_first():
    own = [run for run in runs() if run.network == NETWORKS[0].name]
    assert own[0].method == "float"
    order = [(run.bits not in (4, 32), run.seed) for run in own]
    assert order == sorted(order)
    assert {run.bits for run in own if run.label == "minmax"} == {8, 6, 4, 3, 2}


def test_rows_with_the_papers_crops():
    """384x384 of the high-resolution picture: 192x192 before upscaling by 2, 96x96 before upscaling by 4."""
    found = {(run.network, run.label): run.patch for run in runs() if run.label.endswith(", the paper's crops")}
    for label in ("minmax+FT as published", "adabm", "adabm*", "outlier-aware", "gba", "gba*"):
        assert found["edsr_r8f64_x2", f"{label}, the paper's crops"] == 192
        assert found["rnet_r9f64_x4", f"{label}, the paper's crops"] == 96
    assert {size for (_, label), size in found.items() if label.startswith("2dquant")} == {64}
    others = [run for run in runs() if (run.network, run.label) not in found]
    assert all(str(run.patch) == (run.label.partition("crops of ")[2][:2] or "48") for run in others)


def test_networks_are_named_by_their_scale():
    assert {network.name: network.scale for network in NETWORKS if network.name.startswith("c")} == {"carn_x2": 2}
    assert {network.scale for network in NETWORKS} == {2, 4}


def test_the_command_line_refuses_what_leaves_nothing(tmp_path, pictures):
    command = [sys.executable, str(SCRIPT), "-o", str(tmp_path / "runs"), "--network", "nowhere"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "no run is left" in finished.stderr


def test_drops_are_against_the_papers_own_float(tmp_path):
    head = "seed,table,model,scale,method,w_bits,a_bits,mixed,process_time_s,dataset,psnr,ssim,fab"
    lines = [
        head,
        "000,S1,EDSR,2,FP,32,32,none,,Set5,37.99,,",
        "000,S1,EDSR,2,GBA,4,4,a,26,Set5,37.59,,",
        "004,3,EDSR,2,GBA,4,4,a,26,Set5,30.00,,",
        "003,1,EDSR,2,PLQ,4,4,none,,Set5,36.00,,",
    ]
    (tmp_path / "numbers.csv").write_text("\n".join(lines))
    found = drops(tmp_path / "numbers.csv")
    assert list(found) == [("EDSR", 2, "GBA", 4, "Set5")]
    drop = found["EDSR", 2, "GBA", 4, "Set5"]
    assert (drop.paper, drop.db) == ("GBA", pytest.approx(0.40))
    assert drops(tmp_path / "missing.csv") == {}


def finished(run, store, psnr, **more):
    score = {"set": "Set5", "psnr_y": psnr, "ssim_a": 0.9, "ssim_b": 0.8, "fab": None}
    made = {"run": asdict(run), **origin(shared())}
    write({**made, "result": {"engine": "openvino", "scores": [score], **more}}, store.path(run))


def test_entries_are_means_over_seeds_and_tables_show_them(tmp_path, pictures, run):
    store = Store(tmp_path / "runs", pictures, {})
    everything = [replace(run, seed=seed, bits=bits) for bits in (4, 3) for seed in (0, 1)]
    base = replace(run, method="float", label="float", bits=32)
    finished(base, store, 38.0)
    for one in everything:
        finished(one, store, 33.0 + one.bits + one.seed, torch_psnr_y=33.0 + one.bits + one.seed + 0.02 * one.seed)
    first, *found = entries([base, *everything], store, {})
    assert first.label == "float"
    score = found[0].scores[0]
    assert (found[0].bits, found[0].seeds, score.psnr_y, score.std) == (4, 2, 37.5, pytest.approx(0.5**0.5))
    assert score.drop == 0.5
    assert found[0].engines_agree is False
    assemble([base, *everything], store, tmp_path / "docs")
    text = (tmp_path / "docs" / "ptq.md").read_text()
    assert "| minmax | 37.50 ± 0.71 / 0.9000 / 0.8000 |" in text
    assert "openvino!" in text
    assert (tmp_path / "docs" / "ptq_edsr_r8f64_x2.png").stat().st_size > 10_000
    assert (
        "| MinMax without finetuning: Set5 >= 35.9 | Set5 37.50 (2 of 3 seeds) | yes |"
        in (tmp_path / "docs" / "ptq_bars.md").read_text()
    )


def test_nothing_to_assemble(tmp_path, pictures, run):
    with pytest.raises(InputError, match="no run is finished"):
        assemble([run], Store(tmp_path / "runs", pictures, {}), tmp_path / "docs")


def test_restored_runs_give_the_same_entries(tmp_path, pictures, run):
    store, again = Store(tmp_path / "runs", pictures, {}), Store(tmp_path / "again", pictures, {})
    everything = [replace(run, seed=seed) for seed in (0, 1)]
    for one in everything:
        finished(one, store, 33.0 + one.seed, torch_psnr_y=33.0, layers=["conv"], size_bytes=5 + one.seed)
    assemble(everything, store, tmp_path / "docs")
    changed, missing = replace(run, seed=1, settings=()), replace(run, seed=2)
    assert restore([run, changed, missing], again, tmp_path / "docs") == [changed, missing]
    assert restore(everything, again, tmp_path / "docs") == []
    assert entries(everything, again, {}) == entries(everything, store, {})
    assert "layers" in store.result(run)
    assert "layers" not in again.result(run)
    assert again.code(run) == store.code(run)


def test_a_finished_run_is_not_overwritten_by_a_restored_one(tmp_path, pictures, run):
    store = Store(tmp_path / "runs", pictures, {})
    finished(run, store, 33.0)
    assemble([run], store, tmp_path / "docs")
    finished(run, store, 34.0)
    assert restore([run], store, tmp_path / "docs") == []
    assert store.result(run)["scores"][0]["psnr_y"] == 34.0


def test_runs_with_other_pictures_are_not_restored(tmp_path, pictures, run):
    store = Store(tmp_path / "runs", pictures, {})
    with pytest.raises(InputError, match=r"ptq_runs.json is missing: give the folder"):
        restore([run], store, tmp_path / "docs")
    finished(run, store, 33.0)
    assemble([run], store, tmp_path / "docs")
    (pictures / "data" / "Tiny" / "HR" / "a.png").write_bytes(b"other")
    other = Store(tmp_path / "other", pictures, {})
    with pytest.raises(InputError, match="made with other pictures or weights"):
        restore([run], other, tmp_path / "docs")
    assert not other.path(run).exists()


def test_the_published_tables_follow_from_the_published_runs(tmp_path, pictures, monkeypatch):
    """Every row whose settings are still those of its runs; a row with other settings has to be measured again."""
    published = json.loads((RESULTS / "ptq_runs.json").read_text())
    monkeypatch.setattr("ptq_store.data_version", lambda _: published[0]["data"])
    store = Store(tmp_path / "runs", pictures, {})
    left = restore(runs(), store, RESULTS)
    assert len(runs()) - len(left) > len(published) / 2
    changed = {(run.network, run.label, run.bits) for run in left}
    rows = {row.label for row in ROWS}
    table = [without_papers(entry) for entry in json.loads((RESULTS / "ptq.json").read_text())["entries"]]
    same = [e for e in table if (e["network"], e["label"], e["bits"]) not in changed and e["label"] in rows]
    found = [without_papers(asdict(entry)) for entry in entries(runs(), store, {})]
    assert [e for e in found if (e["network"], e["label"], e["bits"]) not in changed] == same
    assert "unknown (" in versions(runs(), store)
    assert "means over the seeds" in versions(runs(), store)


def without_papers(entry):
    """An entry as JSON has it; the losses in the papers' tables come from another file."""
    plain = json.loads(json.dumps(entry))
    return plain | {"scores": [{name: score[name] for name in score if name != "paper"} for score in plain["scores"]]}


def entry(label, set5, set14=30.0, fab=4.0, seeds=None):
    sets = (("Set5", set5), ("Set14", set14))
    scores = [
        Score(name, db, seeds or {0: db}, dict.fromkeys(seeds or (0,), fab), None, 0.9, 0.9, fab, 38 - db, None)
        for name, db in sets
    ]
    costs = dict.fromkeys(
        ("effective_activation_bits", "effective_weight_bits", "activation_bits", "weight_bits", "bit_ops"), 4.0
    )
    sizes = dict.fromkeys(("size_bytes", "seconds", "peak_bytes"), 1.0)
    return Entry("n", label, 4, 1, "", tuple(scores), **costs, **sizes, ranges="static", overspends=0,
                 engine="openvino", float_layers=0, engines_agree=True)  # fmt: skip


@pytest.mark.parametrize(
    ("bar", "reached"),
    [
        (AtLeast("", "n", "b", {"Set5": 37.0}), True),
        (AtLeast("", "n", "b", {"Set5": 37.0, "Set14": 30.1}), False),
        (AtLeast("", "n", "b", {"Set5": 37.0}, fab=3.9), False),
        (AtLeast("", "n", "missing", {"Set5": 37.0}), None),
        (Above("", "n", ("a", "b"), ("Set5",)), True),
        (Above("", "n", ("a", "b")), False),
        (Above("", "n", ("b", "a"), ("Set5",)), False),
        (Above("", "n", ("a", "missing")), None),
        (Near("", "n", "b", 1.0), True),
        (Near("", "n", "a", 1.0), False),
        (Near("", "n", "missing", 1.0), None),
    ],
)
def test_bars(bar, reached):
    table = {("n", label): entry(label, set5) for label, set5 in (("a", 36.0), ("b", 37.0))}
    assert _answer(bar, table).reached is reached


def test_rows_are_compared_over_the_seeds_they_share():
    one, two = entry("a", 36.0, seeds={0: 36.0}), entry("b", 37.0, seeds={0: 35.0, 1: 39.0})
    line = _answer(Above("", "n", ("a", "b"), ("Set5",)), {("n", "a"): one, ("n", "b"): two})
    assert line.measured == "Set5 36.00 < 35.00 (1 of 3 seeds)"
    assert line.reached is False


def test_bars_name_rows_that_there_are():
    from ptq_bars import BARS

    labels = {row.label for row in ROWS}
    for bar in BARS:
        assert set(bar.labels if isinstance(bar, Above) else (bar.label,)) <= labels
        assert bar.network in {network.name for network in NETWORKS}
