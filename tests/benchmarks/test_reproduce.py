"""The papers' tables: which rows there are, what measures them, resuming, pages."""

import json
from dataclasses import replace

import pytest
import reproduce
import reproduce_counts as counts
import reproduce_pages as pages
import reproduce_sources as sources
from ptq_networks import EDSR, NETWORKS
from ptq_run import write
from reproduce_papers import TABLES, Published, chosen, quantized_runs, read
from reproduce_place import Place, restore
from reproduce_runs import float_run, large, row, short
from reproduce_sources import Absent, Counted, Quantized, Tabulated, Trained, Value
from reproduce_table import Count, Line, Printed, Table

from srquant.errors import InputError

RESULTS = reproduce.COMMITTED.parent
PRINTED = Printed("EDSR", 4, "GBA[n_calib=20]", 4, 4)
POINT = short("gba*, 20 crops", "gba", "mixed=both", "rates=relative", "learning_rate=0.003")


def line_of(paper, number, label):
    (table,) = chosen(paper, number)
    (line,) = (line for line in table.lines if line.paper.label == label)
    return line


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of runs, whatever pictures there are."""
    monkeypatch.setattr("ptq_store.data_version", lambda _: "pictures")
    return Place(tmp_path / "runs")


def finish(run, place, psnr, **more):
    score = {"set": "Set5", "psnr_y": psnr, "ssim_a": 0.9, "ssim_b": 0.8, "fab": None}
    made = {"run": vars(run), "data": "pictures", "code": "code"}
    write({**made, "result": {"engine": "openvino", "scores": [score], **more}}, place.store.path(run))


def test_every_table_of_the_five_papers_is_listed():
    wanted = {
        "GBA": [*map(str, range(1, 12)), "main-1", "main-2", "main-4"],
        "QuantSR": ["1", "2"],
        "2DQuant": ["2", "3", "4a", "4b", "4c"],
        "outlier-aware": list("12345"),
        "AdaBM": list("12345"),
    }
    assert {paper: [table.number for table in chosen(paper, None)] for paper in wanted} == wanted
    assert sum(map(len, wanted.values())) == len(TABLES)


def test_rows_are_those_of_the_published_numbers(shared):
    published = set(read(shared / "methods" / "paper_numbers.csv"))
    listed = {
        (table.paper, name, line.paper)
        for table in TABLES
        for name in table.csv
        for line in table.lines
        if isinstance(line.paper, Printed)
    }
    assert published - listed == set()
    tables = {(table.paper, table.csv): [] for table in TABLES if table.csv}
    for paper, name, printed in published:
        for (other, names), rows in tables.items():
            rows += [printed] if other == paper and name in names else []
    extra = [
        (table.paper, table.number, line.paper.label)
        for table in TABLES
        for line in table.lines
        if isinstance(line.paper, Printed) and line.paper not in tables[table.paper, table.csv]
    ]
    assert extra == []


@pytest.mark.parametrize(
    ("number", "label", "settings", "changed"),
    [
        ("6", "n_calib=60", (), {"count": 60}),
        ("8", "theta={-2, -1, 0, 1, 2}", ("largest=2",), {}),
        ("9", "lambda_feat=0", ("feature_weight=0",), {}),
        ("9", "lambda_feat=10", (), {}),
        ("10", "patch=240", (), {"patch": 30}),
        ("11", "batch_ft=16", ("batch=16",), {}),
    ],
)
def test_a_point_of_a_sweep_changes_what_its_table_sweeps(number, label, settings, changed):
    (run,) = line_of("GBA", number, f"EDSR x4 GBA[{label}] W4A4").ours.runs
    wanted = replace(POINT, label=run.label, settings=(*POINT.settings, *settings), **changed)
    assert run == wanted


def test_learning_rates_of_table_7_are_absolute():
    runs = [line.ours.runs[0] for line in chosen("GBA", "7")[0].lines]
    assert [run.settings for run in runs] == [
        ("mixed=both", f"learning_rate={rate}") for rate in ("0.001", "0.005", "0.01", "0.05")
    ]


def test_rows_have_the_printed_bits():
    for table in TABLES:
        for line in table.lines:
            if isinstance(line.ours, Quantized) and isinstance(line.paper, Printed):
                assert {run.bits for run in line.ours.runs} == {line.paper.weight_bits}


def test_the_parts_of_adabm_are_those_of_its_table():
    (run, *_) = line_of("AdaBM", "4", "EDSR x4 AdaBM[none] W4A4").ours.runs
    assert run.settings == ("image_to_bit=false", "layer_to_bit=false", "bac=false", "finetune=false")
    labels = [line.ours.runs[0].label for line in chosen("AdaBM", "4")[0].lines if "BaC+FT" in line.paper.label]
    assert labels == ["adabm BaC+FT", "adabm BaC+FT, relative"]


def test_a_row_that_ptq_does_not_make_is_one_run_with_these_bits():
    assert [run.seed for run in row(EDSR, "gba relative", 4)] == [0, 1, 2]
    (run,) = row("edsr_r16f64_x4", "adabm", 3)
    assert (run.bits, run.settings) == (3, ("clamp_bits=true",))
    assert row("imdtn_x4", "adabm", 4) == ()


def test_large_pictures_are_measured_beside_set5():
    run = large("edsr_r16f64_x4", "adabm", 4)
    assert (run.label, run.sets) == ("adabm, 2K", ("data/Set5", "data/CLIC2025_2K"))


def test_runs_have_files_of_their_own(place):
    runs = quantized_runs(TABLES)
    assert len({place.store.path(run) for run in runs}) == len(runs) > 100


def test_losses_are_against_the_own_float_network(place):
    ours = Quantized((POINT, replace(POINT, seed=1)), float_run(EDSR))
    assert not ours.finished(place)
    assert ours.values(place) == {}
    for run, psnr in ((float_run(EDSR), 38.0), (POINT, 37.0), (replace(POINT, seed=1), 36.0)):
        finish(run, place, psnr, processor_seconds=psnr)
    assert ours.values(place) == {"Set5": Value(36.5, 1.5)}
    assert replace(ours, column="seconds").values(place) == {"seconds": Value(36.5)}
    assert Quantized((float_run(EDSR),), float_run(EDSR)).values(place) == {"Set5": Value(38.0)}


def test_seconds_of_continued_runs_are_not_known(place):
    for run in (float_run(EDSR), POINT):
        finish(run, place, 37.0, processor_seconds=None)
    assert Quantized((POINT,), float_run(EDSR), "seconds").values(place) == {}


def test_only_missing_runs_are_made_and_failures_are_named(place, monkeypatch):
    started = []

    def execute(run, store, how):
        started.append((run.label, how))
        if run.seed == 1:
            return "out of memory"
        finish(run, place, 37.0)
        return None

    monkeypatch.setattr(sources, "execute", execute)
    ours = Quantized((POINT, replace(POINT, seed=1)), float_run(EDSR))
    finish(float_run(EDSR), place, 38.0)
    assert ours.make(place) == [f"{EDSR} {POINT.label} 4 bit: out of memory"]
    assert started == [(POINT.label, ["--device", "cpu"])] * 2
    assert ours.make(Place(place.folder, "cuda")) == [f"{EDSR} {POINT.label} 4 bit: out of memory"]
    assert started[2:] == [(POINT.label, ["--device", "cuda"])]


def test_trained_rows_are_those_of_one_depth(place):
    ours = Trained("quantsr", 2, 4)
    finish(float_run(EDSR), place, 38.0)
    assert ours.values(place) == {}
    after = [{"depth": depth, "scores": [{"dataset": "Set5", "psnr_y": 30.0 + depth}]} for depth in (8, 4)]
    write({"after": after, "seconds": 9.0}, ours.path(place))
    assert ours.values(place) == {"Set5": Value(34.0, 4.0)}
    assert ours.make(place) == []
    assert replace(ours, column="seconds").values(place) == {"seconds": Value(9.0)}


def test_rows_of_other_tables_are_found(place):
    ours = Tabulated("qat_patches", (("name", "adabm"),), "Urban100", "psnr_y")
    assert "names the commands" in ours.make(place)[0]
    write({"rows": [{"name": "cabm", "psnr_y": 31.0}, {"name": "adabm", "psnr_y": 31.5}]}, place.table("qat_patches"))
    assert ours.values(place) == {"Urban100": Value(31.5)}
    assert not replace(ours, row=(("name", "cadyq"),)).finished(place)


@pytest.fixture
def papers(tmp_path):
    text = "seed,table,model,scale,method,w_bits,a_bits,mixed,process_time_s,dataset,psnr,ssim,fab\n"
    text += "000,S2,EDSR,4,FP,32,32,none,,Set5,32.10,,\n000,S6,EDSR,4,GBA[n_calib=20],4,4,?,,Set5,31.58,,\n"
    text += "003,1,EDSR,4,FP,32,32,none,,Set5,40.00,,\n"
    (tmp_path / "numbers.csv").write_text(text)
    return Published(read(tmp_path / "numbers.csv"))


TABLE = Table(
    "GBA",
    "6",
    "crops",
    "EDSR",
    (
        Line(PRINTED, Quantized((POINT,), float_run(EDSR))),
        Line(replace(PRINTED, method="GBA[n_calib=60]"), Quantized((replace(POINT, seed=1),), float_run(EDSR))),
        Line(replace(PRINTED, method="GBA[n_calib=800]"), Absent("there are 100 pictures")),
        Line(Count("size", {"K": 305.5}), Counted("EDSR", lambda: {"K": 305.549})),
    ),
    7,
    ("S6",),
)


def test_a_page_has_the_papers_losses_beside_ours(place, papers, tmp_path):
    for run, psnr in ((float_run(EDSR), 38.0), (POINT, 37.4)):
        finish(run, place, psnr)
    pages.assemble((TABLE,), papers, place, tmp_path / "docs" / "reproduce")
    text = (tmp_path / "docs" / "reproduce_gba.md").read_text()
    row = "| EDSR x4 GBA[n_calib=20] W4A4 | edsr_r8f64_x2 short gba*, 20 crops | 31.58 (0.52) | 37.40 (0.60) |  |  |"
    assert row in text
    assert "| size | EDSR |  |  | 305.50 | 305.55 |" in text
    assert "Rows that aren't measured yet: 1." in text
    assert "- EDSR x4 GBA[n_calib=800] W4A4: there are 100 pictures." in text
    (table,) = json.loads((tmp_path / "docs" / "reproduce_gba.json").read_text())["tables"]
    assert (table["finished"], table["possible"], len(table["rows"])) == (2, 3, 4)
    assert table["rows"][0]["settings"] == list(POINT.settings)
    again = Place(tmp_path / "again")
    (tmp_path / "docs" / "ptq_runs.json").write_text("[]")
    (tmp_path / "docs" / "qat.json").write_text('{"runs": [{"label": "odm", "bits": 2, "after": []}]}')
    for name in ("classification", "qat_patches"):
        (tmp_path / "docs" / f"{name}.json").write_text('{"rows": []}')
    restore([POINT], again, tmp_path / "docs")
    assert again.store.has(POINT)
    assert Trained("odm", 2).path(again).exists()
    assert again.table("classification").exists()


def test_the_committed_tables_follow_from_the_committed_runs(tmp_path, monkeypatch):
    """The tables that were to be measured are complete, and of none more is shown than its runs say."""
    published = json.loads((RESULTS / "ptq_runs.json").read_text())
    monkeypatch.setattr("ptq_store.data_version", lambda _: published[0]["data"])
    place = Place(tmp_path / "runs")
    restore(quantized_runs(TABLES), place, RESULTS)
    for table in TABLES:
        assert table.finished(place) >= reproduce.committed(table), (table.paper, table.number)
    complete = [*chosen("AdaBM", "4"), *chosen("2DQuant", "4c"), *chosen("outlier-aware", "4"), *chosen("QuantSR", "2")]
    complete += [chosen("GBA", str(number))[0] for number in range(6, 12)]
    assert [(table.paper, table.number) for table in complete if table.finished(place) < table.possible] == []


def test_committed_numbers_are_those_of_the_runs(tmp_path, monkeypatch):
    published = json.loads((RESULTS / "ptq_runs.json").read_text())
    monkeypatch.setattr("ptq_store.data_version", lambda _: published[0]["data"])
    place = Place(tmp_path / "runs")
    (table,) = chosen("GBA", "8")
    restore(quantized_runs((table,)), place, RESULTS)
    committed = json.loads((RESULTS / "reproduce_gba.json").read_text())["tables"]
    (kept,) = (one for one in committed if one["number"] == "8")
    found = [{name: vars(value) for name, value in line.ours.values(place).items()} for line in table.lines]
    assert [row["measured"] for row in kept["rows"]] == found


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["reproduce.py", *map(str, arguments)])
    return reproduce.main()


def test_the_list_has_every_command_and_state(monkeypatch, capsys):
    assert run_main(monkeypatch, "--list") == 0
    text = capsys.readouterr().out
    for table in TABLES:
        assert f"{table.command}\n" in text
    assert text.count("rows finished") == len(TABLES)
    assert "needs a GPU: CADyQ and CABM" in text


def test_a_command_makes_what_is_missing_and_prints_the_table(place, papers, monkeypatch, capsys):
    monkeypatch.setattr(reproduce, "published", lambda: papers)
    monkeypatch.setattr(reproduce, "chosen", lambda *_: (TABLE,))
    finish(float_run(EDSR), place, 38.0)
    finish(POINT, place, 37.4)
    monkeypatch.setattr(sources, "execute", lambda *_: "no memory")
    assert run_main(monkeypatch, "GBA", "6", "-o", place.folder) == 1
    text = capsys.readouterr().out
    assert "31.58 (0.52) | 37.40 (0.60)" in text
    assert text.endswith("4 bit: no memory\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("EBSR",), "no paper 'EBSR': use one of GBA"),
        (("GBA", "12"), "GBA has no table '12': use one of 1, 2"),
        (("GBA", "6"), "give one with -o RUNS"),
    ],
)
def test_what_is_not_there_is_named(arguments, says, monkeypatch, capsys):
    assert run_main(monkeypatch, *arguments) == 2
    assert says in capsys.readouterr().err


def test_missing_numbers_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SRQUANT_SHARED", str(tmp_path))
    with pytest.raises(InputError, match=r"paper_numbers.csv is missing: set SRQUANT_SHARED"):
        reproduce.published()


@pytest.mark.parametrize(("bits", "fully", "printed"), [(4, True, 229.517), (6, True, 305.5), (4, False, 485.5)])
def test_sizes_are_those_that_adabm_prints(bits, fully, printed):
    assert counts.adabm(bits, bits, fully=fully)[counts.SIZE] == pytest.approx(printed, abs=0.05)


def test_bit_operations_are_those_that_adabm_prints():
    assert counts.adabm_float()[counts.SIZE] == pytest.approx(1517.6, abs=0.05)
    assert counts.adabm(6, 6, fully=True)[counts.BIT_OPS] == pytest.approx(9.2, abs=0.05)


@pytest.mark.parametrize(("bits", "parameters"), [(4, 3.07), (3, 3.31), (2, 3.60)])
def test_ratios_of_parameters_are_those_that_2dquant_prints(bits, parameters):
    assert counts.two_d_quant_ratios(bits)[counts.COMPRESSION] == pytest.approx(parameters, abs=0.005)


def test_operations_of_2dquant():
    found = counts.two_d_quant_operations(True), counts.two_d_quant_operations(False)
    assert found[0][counts.G] == pytest.approx(14.34, abs=0.005)
    assert sum(part[counts.SHARE] for part in found) == pytest.approx(100)


def test_every_network_that_stands_for_another_has_a_note():
    assert all(net.note for net in NETWORKS)
