import pytest

from srquant.errors import OutputError
from srquant.report.curves import read_metrics, write_curves
from srquant.training.run_folder import RunFolder

LOG = "step,loss,held_out_loss,seconds,psnr\n10,0.5,0.6,1,\n20,0.25,0.3,2,31.5\n"


@pytest.fixture
def log(tmp_path):
    folder = RunFolder(tmp_path / "run1")
    folder.path.mkdir()
    folder.metrics.write_text(LOG)
    return folder


def test_one_chart_of_all_losses_and_one_of_each_other_number(log):
    write_curves(log, running=False)
    page = log.curves.read_text()
    assert page.count("<svg ") == 2
    assert "<h2>Losses</h2>" in page
    assert "<h2>psnr</h2>" in page
    assert "held_out_loss" in page
    assert "refresh" not in page


def test_a_run_that_goes_on_loads_its_page_again(log):
    write_curves(log, running=True)
    assert 'http-equiv="refresh"' in log.curves.read_text()


def test_empty_cells_are_left_out(log):
    assert read_metrics(log.metrics) == [
        {"step": 10, "loss": 0.5, "held_out_loss": 0.6, "seconds": 1},
        {"step": 20, "loss": 0.25, "held_out_loss": 0.3, "seconds": 2, "psnr": 31.5},
    ]


def test_without_rows_there_is_no_page(tmp_path):
    write_curves(RunFolder(tmp_path), running=False)
    assert list(tmp_path.iterdir()) == []


def test_the_same_log_gives_the_same_page(log):
    pages = []
    for _ in range(2):
        write_curves(log, running=False)
        pages.append(log.curves.read_bytes())
    assert pages[0] == pages[1]


def test_a_page_that_cannot_be_written(log):
    log.curves.mkdir()
    with pytest.raises(OutputError, match=r"curves\.html"):
        write_curves(log, running=False)
