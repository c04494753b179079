"""What a step prints when it fails in a run on a cluster."""

import pytest

from spine.errors import InvalidValueError
from spine.settings import settings
from spine.steps import run_step


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch):
    monkeypatch.delenv("SPINELINE_PROGRESS_FILE", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def fail(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            InvalidValueError("policy", "x", expected="a known one"),
            "gate_candidate: error: policy is 'x'; expected a known one",
        ),
        (ModuleNotFoundError("No module named 'numba'"), "gate_candidate: error: ModuleNotFoundError: No module"),
        (
            ConnectionRefusedError(111, "refused"),
            "gate_candidate: transient error: ConnectionRefusedError",
        ),
        (ValueError("two\nlines"), "gate_candidate: error: ValueError: two lines"),
    ],
    ids=["expected", "unexpected", "unreachable", "several lines"],
)
def test_a_failing_step_prints_one_line_with_its_error(error, line, monkeypatch, capsys):
    monkeypatch.setenv("SPINELINE_RUN", "4be7")
    with pytest.raises(type(error)):
        run_step("gate_candidate", fail(error))
    assert any(printed.startswith(line) for printed in capsys.readouterr().err.splitlines())


def test_outside_of_a_cluster_the_program_prints_the_error_itself(monkeypatch, capsys):
    monkeypatch.delenv("SPINELINE_RUN", raising=False)
    with pytest.raises(ValueError, match="once"):
        run_step("gate_candidate", fail(ValueError("once")))
    assert capsys.readouterr().err == ""
