"""The monitor as a program: it answers, teaches, refuses in one line, writes nothing and ends when it is asked to."""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from model_registry.mlflow_store import MlflowStore
from spine.settings import child_environment

COMMAND = [sys.executable, "-m", "components.monitor_root"]


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture
def monitor(site):
    """A running monitor of the site's root: its process and its address."""
    with monitoring(site) as running:
        yield running


@contextlib.contextmanager
def monitoring(site, *options, **environment):
    log = site.root.parent / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "--root", site.root, "--host", "127.0.0.1", "--port", "0", "--pause", "0", *options],
            stderr=stderr,
            env=child_environment(SPINELINE_LOG_FORMAT="json", **environment),
        )
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"http://[\d.:]+", log.read_text())):
            assert time.monotonic() < deadline and process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def test_it_answers_prometheus_and_probes_until_it_is_stopped(site, monitor):
    process, url = monitor
    site.journal(4).status("RUNNING")
    text = get(f"{url}/metrics")
    assert f'spineline_training_status{{candidate="{site.candidate}",fold="4",status="running"}} 1.0' in text
    assert get(f"{url}/healthz") == "alive\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{url}/")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_it_writes_nothing_below_the_root(site, monitor):
    before = sorted(site.root.rglob("*"))
    get(f"{monitor[1]}/metrics")
    assert sorted(site.root.rglob("*")) == before


@pytest.mark.slow
def test_it_sets_mlflows_aliases_by_itself_and_its_metrics_say_so(site, registry_with_two_versions, tmp_path):
    registry, uri = registry_with_two_versions, f"sqlite:///{tmp_path / 'mlflow.db'}"
    store = MlflowStore(uri, artifacts=tmp_path, model_name="vertebra-segmentation")
    run = store.candidate_run("t", name="t")
    for known in registry.state().versions.values():
        store.create_version(run_id=run, source=tmp_path.as_uri(), digest=known.model_digest, tags={})
    registry.promote(1, actor="ann", reason="for tests", expected_serving=None)
    with monitoring(site, "--reconcile", "0.2", MLFLOW_TRACKING_URI=uri) as (_, url):
        deadline = time.monotonic() + 60
        while "spineline_mlflow_reachable 1.0" not in (text := get(f"{url}/metrics")):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
    assert "spineline_mlflow_differences 0.0" in text
    assert store.aliases() == {"candidate": 2, "champion": 1}


def test_a_client_that_says_nothing_keeps_nobody_waiting(monitor):
    host, port = monitor[1].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))):
        assert get(f"{monitor[1]}/healthz") == "alive\n"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus)")
def test_promtool_has_nothing_to_say(monitor):
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=get(f"{monitor[1]}/metrics"), capture_output=True, text=True
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--port", "70000"], "error: --port is 70000; expected 0 to 65535"),
        (["--days", "0"], "error: --days is 0.0; expected more than 0"),
        (["--reconcile", "0"], "error: --reconcile is 0.0; expected more than 0"),
        (["--dead-after", "-3"], "error: --dead-after is -3.0; expected more than 0"),
        (["--pause", "-1"], "error: --pause is -1.0; expected 0 or more"),
        (["--host", "203.0.113.9", "--port", "0"], "error: port 0 on 203.0.113.9: cannot assign requested address"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(site, given, told):
    done = subprocess.run([*COMMAND, "--root", site.root, *given], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(told) and done.stderr.count("\n") == 1


def test_a_look_needs_nothing_that_the_registrys_image_lacks(site):
    code = f"""
import sys
from pathlib import Path
from model_registry.verdict import Verdict
from components.monitor_root.collector import RootCollector
from spine.settings import Settings
root = Path({str(site.root)!r})
made = Verdict(outcome="pass", evaluation="sha256:1", champion=None, policy_name="p", policy="sha256:2", scans=2,
               rules=(), regions_without_cases=(), regions_not_compared=(), summary="")
made.write(made.folder_below(root / "evaluations" / "abad1deaabad") / "verdict.json")
seen = list(RootCollector(root, Settings(root=root), days=7, pause_s=0).collect())
assert any(family.name == "spineline_gate_verdicts" for family in seen)
print([name for name in ("torch", "nnunetv2", "mlflow", "kfp", "fastapi", "numba") if name in sys.modules])
"""
    site.journal(0).status("RUNNING")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_help_teaches_without_importing_anything_heavy():
    code = "import sys\nfrom components.monitor_root.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'mlflow', 'scipy', 'kfp', 'prometheus_client') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "read-only" in done.stdout and "--days" in done.stdout
    assert done.stdout.endswith("[]\n")
