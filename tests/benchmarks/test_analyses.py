"""The page of all analyses."""

import json

import analyses
import analyses_page
import pytest

from srquant.cli.analyse import ANALYSES


def test_every_analysis_of_the_command_line_is_made():
    made = {command.split()[0] for command in analyses.ANALYSES.values()}
    assert made == {function.__name__.replace("_", "-") for function in ANALYSES}
    assert analyses.ANALYSES.keys() == analyses_page.SECTIONS.keys()


@pytest.fixture
def runs(tmp_path):
    record = {"command": "srquant analyse clipping", "machine": "abacus", "date": "2026-11-27", "seconds": 2.5}
    for name in ("clipping", "sensitivity"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / f"{name}.json").write_text(json.dumps(record))
    (tmp_path / "runs/clipping/clipping.csv").write_text("share,psnr_y\n0,\n0.01,36.8\n")
    (tmp_path / "runs/clipping/clipping.png").write_bytes(b"picture")
    (tmp_path / "runs/clipping/large.csv").write_text("x\n" * analyses.LARGEST)
    found = {"weight_error": {"weight_gba": 0.812, "weight_adabm": None}}
    numbers = {"rank_correlation": found, "rank_correlation_between_head_and_tail": found}
    (tmp_path / "runs/sensitivity/sensitivity.json").write_text(json.dumps(numbers))
    return tmp_path / "runs"


def test_the_page_has_figures_small_tables_and_commands(runs, tmp_path):
    analyses.assemble(runs, tmp_path / "results")
    text = (tmp_path / "results" / "analyses.md").read_text()
    assert "![Clipping activations: clipping](analyses/clipping/clipping.png)" in text
    assert "| 0.01 | 36.8 |" in text
    assert "abacus, 2026-11-27" in text
    assert "| weight_error | weight_gba | 0.81 | 0.81 |" in text
    assert "| weight_error | weight_adabm | - | - |" in text
    assert "large.csv" not in text
    assert sorted(path.name for path in (tmp_path / "results/analyses/clipping").iterdir()) == [
        "clipping.csv",
        "clipping.png",
    ]


def test_what_is_there_is_not_run_again(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(analyses, "run", lambda job, folder: ran.append(job.name))
    monkeypatch.setattr(analyses, "write_pictures", lambda folder: None)
    monkeypatch.setattr("sys.argv", ["analyses.py", "-o", str(tmp_path), "--only", "*gba*"])
    (tmp_path / "w4a4_gba.safetensors").touch()
    analyses.main()
    assert ran == ["w4a4_gba_2"]
