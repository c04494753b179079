"""Logs as programs write them: text for people, or JSON of which every line can be parsed."""

import json
import logging
import subprocess
import sys
import textwrap

import pytest

from spine.log_lines import JsonLine, about, identify, readable
from spine.settings import child_environment

PATIENT = "DOE^JANE"


def program(body, *, form="json", **environment):
    """Run a few lines as a program's work; return its exit code, stdout and stderr."""
    code = "import logging, sys, threading, warnings\nfrom spine.logs import run_program, say, setup\n"
    code += "from spine.log_lines import about, identify\nfrom spine.errors import MissingPathError, SpinelineError\n"
    code += "def work():\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n    return 'the result'\n"
    code += "sys.exit(run_program(work))\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(SPINELINE_LOG_FORMAT=form, **environment),
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def lines(stderr):
    return [json.loads(line) for line in stderr.splitlines()]


def record(message, *args, exc_info=None, name="spine.test"):
    return logging.LogRecord(name, logging.INFO, __file__, 1, message, args, exc_info)


def test_text_is_for_people_and_json_for_programs() -> None:
    body = 'logging.getLogger("spine.x").warning("%d folds", 3)'
    code, stdout, stderr = program(body, form="text")
    assert (code, stdout) == (0, "the result\n") and stderr.endswith(" spine.x WARNING 3 folds\n")
    code, stdout, stderr = program(body)
    (line,) = lines(stderr)
    assert (code, stdout) == (0, "the result\n")
    assert line.pop("at").endswith("+00:00")
    assert line == {"level": "WARNING", "logger": "spine.x", "message": "3 folds"}


def test_lines_carry_the_run_and_what_they_are_about_in_every_thread() -> None:
    _, _, stderr = program(
        """
        log = logging.getLogger("x")
        identify(fold=2)
        log.info("a")
        with about(version=7):
            log.info("b")
        other = threading.Thread(target=lambda: log.info("c"))
        other.start(); other.join()
        """,
        SPINELINE_RUN="train-candidate-x7f2",
    )
    ids = [{name: line.get(name) for name in ("run", "fold", "version")} for line in lines(stderr)]
    assert ids == [
        {"run": "train-candidate-x7f2", "fold": 2, "version": None},
        {"run": "train-candidate-x7f2", "fold": 2, "version": 7},
        {"run": "train-candidate-x7f2", "fold": 2, "version": None},
    ]


def test_ids_end_with_the_block_also_where_it_fails() -> None:
    with pytest.raises(ValueError, match="odd"), about(version=7):
        raise ValueError("odd")
    with about(version=7), about(fold=0):
        inner = json.loads(JsonLine().format(record("x")))
    assert (inner["version"], inner["fold"]) == (7, 0)
    assert "version" not in json.loads(JsonLine().format(record("x")))


def test_an_expected_error_is_one_line_of_either_form() -> None:
    body = "raise SpinelineError('scan.nii: is cut off; expected a whole file')"
    expected = "error: scan.nii: is cut off; expected a whole file"
    assert program(body, form="text") == (2, "", expected + "\n")
    code, stdout, stderr = program(body)
    (line,) = lines(stderr)
    assert (code, stdout, line["level"], line["message"]) == (2, "", "ERROR", expected)


def test_what_nobody_caught_is_one_line_with_its_traceback() -> None:
    code, _, stderr = program("raise ValueError('odd\\nnumber')")
    (line,) = lines(stderr)
    assert code == 1 and line["level"] == "CRITICAL" and line["message"] == "ValueError: odd\nnumber"
    assert line["exception"].startswith("Traceback") and "in work" in line["exception"]
    code, _, stderr = program("raise ValueError('odd')", form="text")
    assert code == 1 and stderr.startswith("Traceback") and stderr.endswith("ValueError: odd\n")


def test_what_ends_a_thread_a_warning_and_a_logged_exception_are_lines_too() -> None:
    code, _, stderr = program(
        """
        other = threading.Thread(target=lambda: 1 / 0)
        other.start(); other.join()
        warnings.warn("old", stacklevel=1)
        try:
            {}["x"]
        except KeyError:
            logging.getLogger("x").exception("not there")
        say("train: epoch 3/5")
        """
    )
    told = lines(stderr)
    assert code == 0
    assert [line["level"] for line in told] == ["CRITICAL", "WARNING", "ERROR", "INFO"]
    assert "ZeroDivisionError" in told[0]["exception"] and "KeyError" in told[2]["exception"]
    assert told[1]["logger"] == "py.warnings" and told[3]["message"] == "train: epoch 3/5"


def test_json_takes_the_place_of_what_kfps_launcher_has_set_up_and_text_leaves_it() -> None:
    body = "logging.getLogger('x').info('hello')"
    launcher = "import logging, sys; logging.basicConfig(stream=sys.stdout, format='[KFP] %(message)s', level=20)\n"
    code = launcher + f"from spine.logs import setup\nsetup()\n{body}"
    for form, expected in (("text", "[KFP] hello\n"), ("json", "")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=child_environment(SPINELINE_LOG_FORMAT=form),
            capture_output=True,
            text=True,
        )
        assert done.stdout == expected
        assert bool(done.stderr) == (form == "json")


@pytest.mark.slow
def test_mlflow_writes_no_lines_of_its_own_beside_json() -> None:
    _, _, stderr = program("import mlflow\nlogging.getLogger('mlflow.x').warning('from mlflow')")
    assert "from mlflow" in [line["message"] for line in lines(stderr)]


def test_an_unknown_form_is_refused_in_one_line() -> None:
    code, _, stderr = program("from spine.settings import settings\nsettings()", form="yaml")
    assert (code, stderr) == (2, "error: SPINELINE_LOG_FORMAT is 'yaml'; expected 'text' or 'json'\n")


@pytest.mark.parametrize("message", ["two\nlines", "a\u2028b\x85c\rd\x0be", "\udcff not unicode", "ä … 25 µm"])
def test_a_line_ends_nowhere_but_at_its_end(message: str) -> None:
    line = JsonLine().format(record("%s", message))
    assert len(line.splitlines()) == 1 and line.isascii()
    assert json.loads(line)["message"] == message


def test_readable_gives_back_what_people_read() -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        failed = record("it failed", exc_info=sys.exc_info())
    assert readable(JsonLine().format(record("error: %s", "no such fold"))) == "error: no such fold"
    assert readable(JsonLine().format(failed)).splitlines()[-1] == "ValueError: odd"
    for other in ("plain text", "{not json", '{"a": 1}', "[1]", "{}"):
        assert readable(other) == other


def test_an_empty_run_is_no_id() -> None:
    identify(run="", fold=None)
    assert "run" not in json.loads(JsonLine().format(record("x")))
