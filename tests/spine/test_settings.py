"""Settings: where each comes from, and what a wrong one says."""

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spine.errors import InvalidValueError
from spine.settings import Settings, child_environment, settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine that runs the tests."""
    for name in [*os.environ]:
        if name.startswith(("SPINELINE_", "MLFLOW_")):
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_without_an_environment_everything_stays_below_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read = settings()
    assert read.root_path == tmp_path / ".spineline"
    assert read.mlflow_uri == f"sqlite:///{tmp_path}/.spineline/mlflow/mlflow.db"
    assert read.acting == getpass.getuser()
    assert read.cpu_threads == len(os.sched_getaffinity(0))
    assert (read.model_name, read.port, read.remote, read.progress_file) == ("vertebra-segmentation", 8642, None, None)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("root", "/data/spine", Path("/data/spine")),
        ("tracking_uri", "http://mlflow:5000", "http://mlflow:5000"),
        ("model_name", "other", "other"),
        ("actor", "ann", "ann"),
        ("port", "9000", 9000),
        ("threads", "3", 3),
        ("progress_file", "/tmp/p", Path("/tmp/p")),
        ("s3_endpoint", "http://minio:9000", "http://minio:9000"),
        ("remote", "s3://bucket/dvc", "s3://bucket/dvc"),
        ("repository", "/src", "/src"),
        ("log_format", "json", "json"),
        ("run", "train-candidate-x7f2", "train-candidate-x7f2"),
        ("ledger", "s3://bucket/spine/ledger", "s3://bucket/spine/ledger"),
        ("model_store", "/mnt/models", "/mnt/models"),
    ],
)
def test_every_field_is_set_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(name.upper(), "without the prefix")
    monkeypatch.setenv(f"SPINELINE_{name.upper()}", text)
    assert getattr(settings(), name) == value
    assert getattr(Settings(), name) == value


def test_a_variable_without_the_prefix_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("SPINELINE_OTHER", "is not ours")
    assert settings().port == 8642


def test_kubeflows_tracking_uri_is_used_unless_ours_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://kubeflow:5000")
    assert Settings().mlflow_uri == "http://kubeflow:5000"
    monkeypatch.setenv("SPINELINE_TRACKING_URI", "http://ours:5000")
    assert Settings().mlflow_uri == "http://ours:5000"


@pytest.mark.parametrize(("name", "text"), [("PORT", "abc"), ("PORT", "0"), ("PORT", "65536"), ("THREADS", "0")])
def test_a_wrong_setting_is_told_with_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"SPINELINE_{name}", text)
    with pytest.raises(InvalidValueError, match=f"SPINELINE_{name} is '{text}'; expected .*") as caught:
        settings()
    assert "\n" not in str(caught.value)


def test_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    monkeypatch.setenv("SPINELINE_PORT", "9000")
    assert settings() is before


def test_a_child_inherits_the_environment_unbuffered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "kept")
    environment = child_environment(SPINELINE_ROOT="/data")
    assert (environment["SOME_SECRET"], environment["SPINELINE_ROOT"]) == ("kept", "/data")
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert "SPINELINE_ROOT" not in os.environ
