"""Metrics of folds as Prometheus gets them, from files and over HTTP."""

import socket
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.train_folds.telemetry import METRICS_FILE, EpochMetrics, FoldTelemetry, MetricsPortError, serve_group

EPOCH = EpochMetrics(epoch=7, seconds=12.5, loss=-0.4, pseudo_dice=0.8, gradient_overflows=2, memory_bytes=3 << 30)


def telemetry(folder, fold=0, resumes=0):
    return FoldTelemetry(folder / f"fold_{fold}", fold=fold, candidate="c0ffee", epochs=1000, resumes=resumes)


def samples(text):
    families = text_string_to_metric_families(text)
    return {
        (sample.name.removeprefix("spineline_training_"), sample.labels["fold"]): sample.value
        for family in families
        for sample in family.samples
    }


def in_file(folder, fold=0):
    return samples((folder / f"fold_{fold}" / METRICS_FILE).read_text())


def scrape(port):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_what_is_not_known_yet_is_left_out(tmp_path):
    telemetry(tmp_path, resumes=3)
    assert in_file(tmp_path) == {
        ("epochs", "0"): 1000,
        ("finished", "0"): 0,
        ("resumes_total", "0"): 3,
        ("gradient_overflows_total", "0"): 0,
    }


def test_an_epoch_a_checkpoint_and_the_end_are_shown(tmp_path):
    fold = telemetry(tmp_path)
    fold.begins_at(6)
    assert in_file(tmp_path)["epoch", "0"] == 6
    fold.epoch_ended(EPOCH)
    before = time.time()
    fold.checkpoint_saved()
    fold.finished()
    found = in_file(tmp_path)
    assert before <= found.pop(("last_checkpoint_timestamp_seconds", "0")) <= time.time()
    assert found == {
        ("epoch", "0"): 7,
        ("epochs", "0"): 1000,
        ("epoch_seconds", "0"): 12.5,
        ("loss", "0"): -0.4,
        ("pseudo_dice", "0"): 0.8,
        ("device_memory_bytes", "0"): 3 << 30,
        ("finished", "0"): 1,
        ("resumes_total", "0"): 0,
        ("gradient_overflows_total", "0"): 2,
    }


def test_metrics_carry_the_candidate(tmp_path):
    telemetry(tmp_path)
    families = text_string_to_metric_families((tmp_path / "fold_0" / METRICS_FILE).read_text())
    assert {sample.labels["candidate"] for family in families for sample in family.samples} == {"c0ffee"}


def test_a_file_that_cannot_be_written_stops_no_training(tmp_path, caplog):
    (tmp_path / "fold_0").write_text("a file where the folder should be")
    telemetry(tmp_path).epoch_ended(EPOCH)
    assert "metrics could not be written" in caplog.text


def test_one_port_answers_with_all_folds_as_they_are_at_the_scrape(tmp_path, port):
    first = telemetry(tmp_path, fold=0, resumes=1)
    files = [tmp_path / f"fold_{fold}" / METRICS_FILE for fold in range(3)]
    with serve_group(port, files):
        assert ("epoch", "0") not in samples(scrape(port))
        first.epoch_ended(EPOCH)
        telemetry(tmp_path, fold=2, resumes=5)
        text = scrape(port)
    found = samples(text)
    assert (found["epoch", "0"], found["resumes_total", "0"], found["resumes_total", "2"]) == (7, 1, 5)
    assert {fold for _, fold in found} == {"0", "2"}
    assert text.count("# TYPE spineline_training_resumes_total counter") == 1
    assert found == in_file(tmp_path, 0) | in_file(tmp_path, 2)


def test_a_file_that_is_no_metrics_is_left_out(tmp_path, port):
    telemetry(tmp_path, fold=0)
    broken = tmp_path / "broken.prom"
    broken.write_text("spineline_training_epoch{fold=\n")
    with serve_group(port, [broken, tmp_path / "fold_0" / METRICS_FILE]):
        assert samples(scrape(port)) == in_file(tmp_path)


def test_a_port_in_use_is_told_in_one_line(port):
    expected = f"port {port}: address already in use; expected a free port for metrics"
    with serve_group(port, []), pytest.raises(MetricsPortError, match=expected), serve_group(port, []):
        pass


def test_the_port_is_free_again_afterwards(port):
    for _ in range(2):
        with serve_group(port, []):
            scrape(port)
    with pytest.raises(urllib.error.URLError):
        scrape(port)


def test_without_a_port_nothing_is_served():
    with serve_group(None, []):
        pass
