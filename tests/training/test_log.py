from srquant.training.log import opened


def test_a_continued_log_keeps_whole_rows_of_steps_that_are_done(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,psnr\n10,0.5,\n20,0.25,31\n30,0.2,\n40,0.1")
    with opened(path, ["loss", "psnr"], 20, None) as log:
        log.write(30, {"loss": 0.125, "psnr": None})
    assert path.read_text() == "step,loss,psnr\n10,0.5,\n20,0.25,31\n30,0.125,\n"


def test_a_log_of_an_earlier_release_gets_the_new_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,shift_std\n10,0.5,0.25\n")
    with opened(path, ["loss", "shift_std", "shift_min"], 10, None) as log:
        log.write(20, {"loss": 0.125, "shift_std": 0.5, "shift_min": 0.0})
    assert path.read_text() == "step,loss,shift_std,shift_min\n10,0.5,0.25,\n20,0.125,0.5,0.0\n"
