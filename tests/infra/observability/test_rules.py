"""Rules ask for what is exported, and each alert is known to fire, and not to, and has its entry in the runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

PROMTOOL_TESTS = sorted((Path(__file__).parent / "promtool").glob("*.yaml"))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus)"
)


def promtool(*given):
    done = subprocess.run(["promtool", *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_rules_are_prometheuss(observability):
    assert "SUCCESS" in promtool("check", "rules", *observability.rule_files)


@needs_promtool
@pytest.mark.parametrize("file", PROMTOOL_TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(file):
    promtool("test", "rules", str(file))


def test_every_alert_is_shown_to_fire_and_not_to(observability):
    fires, is_silent = set(), set()
    for file in PROMTOOL_TESTS:
        for case in (case for test in yaml.safe_load(file.read_text())["tests"] for case in test["alert_rule_test"]):
            (fires if case["exp_alerts"] else is_silent).add(case["alertname"])
    assert fires == set(observability.alerts())
    # An alert on something that is absent is silent in the tests of what is there.
    assert is_silent == set(observability.alerts())


def test_every_rule_asks_for_what_is_exported_or_recorded(observability, exported):
    known = exported | observability.recorded()
    unknown = {
        rule.get("alert") or rule["record"]: observability.names(rule["expr"]) - known for rule in observability.rules()
    }
    assert {rule: names for rule, names in unknown.items() if names} == {}


def test_every_alert_says_how_grave_it_is_and_where_its_entry_stands(observability):
    runbook = (observability.project / "docs" / "runbook.md").read_text()
    for name, alert in observability.alerts().items():
        assert alert["labels"]["severity"] in ("critical", "warning", "info"), name
        assert alert["annotations"]["summary"].endswith("."), name
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        entry = _entry(runbook, name)
        assert f"*{alert['labels']['severity']}.*" in entry, name


def test_every_entry_of_the_runbook_is_an_alerts_and_says_what_to_do(observability):
    runbook = (observability.project / "docs" / "runbook.md").read_text()
    names = re.findall(r"^### (\w+)$", runbook, flags=re.MULTILINE)
    assert sorted(names) == sorted(observability.alerts())
    for name in names:
        entry = _entry(runbook, name)
        assert "**Users notice**" in entry and "**Ends**" in entry, name
        (commands,) = re.findall(r"```bash\n(.*?)```", entry, flags=re.DOTALL)
        assert len(commands.strip().splitlines()) == 3, name


def test_the_runbooks_own_commands_and_links_are_there(observability):
    from typer.testing import CliRunner

    from pipelines.cli.app import app

    runbook = (observability.project / "docs" / "runbook.md").read_text()
    for command in set(re.findall(r"-- spineline ([\w-]+(?: --[\w-]+)*)", runbook)):
        name, *options = command.split()
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0 and all(option in shown.output for option in options), command
    anchors = {f"#{heading.lower()}" for heading in re.findall(r"^###? (\w+)$", runbook, flags=re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]+)\)", runbook):
        assert link in anchors or (observability.project / "docs" / link).is_file(), link


def _entry(runbook: str, name: str) -> str:
    found = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", runbook, flags=re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no entry"
    return found[1]
