"""Help is there for every command, and costs no heavy import."""

import json
import statistics
import subprocess
import sys
import time
from importlib import metadata

import pytest

HEAVY = ("torch", "mlflow", "nnunetv2", "kfp", "batchgenerators", "fastapi", "boto3", "sqlalchemy", "matplotlib", "dvc")
COMMANDS = {
    "prepare": ["--output", "--layout", "--labels", "--seed", "--test-share", "--splits", "--set-aside", "--json"],
    "label-issues": ["evaluation", "--json"],
    "exclude": ["case", "--reason", "--file"],
    "phantom": ["--scans", "--layout", "--seed"],
    "run": [
        "--on",
        "--dataset",
        "--recipe",
        "--policy",
        "--folds",
        "--seed",
        "--start-from",
        "--profile",
        "--host",
        "--detach",
        "--cron",
        "--unchecked",
        "--json",
    ],
    "follow": ["RUN", "--profile", "--host", "--json"],
    "stop": ["RUN", "--archive", "--profile", "--host", "--json"],
    "retry": ["RUN", "--profile", "--host", "--detach", "--json"],
    "runs": ["list", "status", "follow", "stop", "retry", "logs", "schedules", "supervise"],
    "runs list": ["--limit", "--profile", "--host", "--json"],
    "runs status": ["RUN", "--profile", "--host", "--json"],
    "runs logs": ["RUN", "STEP", "--fold", "--follow", "--profile", "--host"],
    "runs supervise": ["--interval", "--metrics-port", "--once", "--profile", "--host"],
    "schedules": ["--delete", "--wait", "--stop-runs", "--pause", "--resume", "--profile", "--host", "--json"],
    "compile": ["--output", "--profile", "--recipe", "--folds", "--json"],
    "evaluate": ["--references", "--predictions", "--output", "--labels", "--patients", "--workers", "--json"],
    "gate": ["--candidate", "--champion", "--policy", "--json"],
    "compare": ["--html", "--json"],
    "noise": ["--policy", "--json"],
    "versions": ["--json"],
    "approve": ["--reason", "--json"],
    "promote": ["--reason", "--deadline", "--dry-run", "--json"],
    "revoke": ["--reason", "--json"],
    "rollback": ["--reason", "--to", "--deadline", "--dry-run", "--json"],
    "history": ["--version", "--json"],
    "status": ["RUN", "--repair", "--profile", "--host", "--json"],
    "lineage": ["--data", "--json"],
    "evidence": ["--output"],
    "token": ["--role", "--expires", "--list", "--revoke"],
    "predict": ["IN", "OUT", "--version", "--json"],
    "serve": ["--port", "--host", "--detach", "--stop", "--without-tokens"],
    "ui": ["--port"],
    "demo": ["--help"],
}
TOP_LEVEL = {command for command in COMMANDS if " " not in command}


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def test_the_help_names_every_command_and_says_what_it_is_not_for(spineline):
    told = spineline("--help")
    assert told.code == 0 and told.err == ""
    assert "not for clinical use" in told.out
    for command in TOP_LEVEL:
        assert f" {command} " in told.out


def test_the_version_and_the_short_option_of_help(spineline):
    told = spineline("--version")
    assert (told.code, told.out) == (0, f"spineline {metadata.version('spineline')}\n")
    assert spineline("versions", "-h").out == spineline("versions", "--help").out


@pytest.mark.parametrize("name", ["suspects", "set-aside"])
def test_a_name_of_an_earlier_release_still_works_and_is_not_listed(spineline, name):
    assert name not in spineline("--help").out
    assert "deprecated" in spineline(name, "--help").out


def test_every_command_stands_in_a_group(spineline):
    assert " Commands " not in spineline("--help").out


def test_no_command_is_left_out_of_these_tests():
    import typer

    from pipelines.cli.app import app

    commands = typer.main.get_command(app).commands
    assert {name for name, command in commands.items() if not command.hidden} == TOP_LEVEL


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_its_options(spineline, command):
    told = spineline(*command.split(), "--help")
    assert told.code == 0 and told.err == ""
    assert f"Usage: spineline {command}" in told.out
    for option in COMMANDS[command]:
        assert option in told.out


@pytest.mark.parametrize("arguments", [["--help"], ["versions", "--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(root, arguments):
    program = (
        "import json, sys\nfrom pipelines.cli.app import run\n"
        f"code = run({arguments!r})\n"
        "print(json.dumps([code, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert not set(modules) & set(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["versions", "--help"]])
def test_help_comes_from_a_cold_start(root, arguments, record_property):
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "pipelines.cli", *arguments], capture_output=True, check=False)
        taken.append(time.perf_counter() - start)
        assert done.returncode == 0
    median = statistics.median(taken[1:])
    record_property("seconds", median)
    print(f"spineline {' '.join(arguments)}: {median:.2f} s (median of 3)")
