"""What the files of infra/observability hold, and which metrics the programs really export."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "infra" / "observability"
RULE_FILES = sorted((FOLDER / "prometheus").glob("*.yaml"))
_FILLED = {"$__rate_interval": "1m", "$__range": "1h", "$namespace": ".*", "$candidate": ".*"}
_NAME = re.compile(r"\bspineline[A-Za-z0-9_:]+")


@dataclass(frozen=True)
class Observability:
    """The files, parsed."""

    project: Path
    folder: Path
    rule_files: tuple[Path, ...]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule of every file, recording and alerting."""
        groups = [group for file in self.rule_files for group in yaml.safe_load(file.read_text())["groups"]]
        return [rule for group in groups for rule in group["rules"]]

    def alerts(self) -> dict[str, dict[str, Any]]:
        return {rule["alert"]: rule for rule in self.rules() if "alert" in rule}

    def recorded(self) -> set[str]:
        return {rule["record"] for rule in self.rules() if "record" in rule}

    def dashboards(self) -> dict[str, dict[str, Any]]:
        files = sorted((self.folder / "grafana").glob("*.json"))
        return {file.stem: json.loads(file.read_text()) for file in files}

    def queries(self) -> dict[str, str]:
        """Every query of every panel by its place, variables filled as Grafana fills them."""
        return {
            f"{name}, {panel['title']} {target['refId']}": filled(target["expr"])
            for name, page in self.dashboards().items()
            for panel in page["panels"]
            for target in panel["targets"]
        }

    @staticmethod
    def names(expr: str) -> set[str]:
        """The names of our metrics in an expression; what stands in quotes is none."""
        return set(_NAME.findall(re.sub(r'"[^"]*"', '""', expr)))


def filled(expr: str) -> str:
    for variable, value in _FILLED.items():
        expr = expr.replace(variable, value)
    return expr


@pytest.fixture(scope="session")
def observability() -> Observability:
    return Observability(PROJECT, FOLDER, tuple(RULE_FILES))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the samples that the server, a trainer, the monitor and the supervisor answer Prometheus with."""
    from components.monitor_root.collector import MlflowCollector, RootCollector
    from components.monitor_root.reconciler import Reconciler
    from components.serve_model.telemetry import Telemetry
    from components.train_folds.telemetry import METRICS_FILE, EpochMetrics, FoldTelemetry
    from model_registry.tracking import open_store
    from pipelines.cli.supervision import _Collector
    from pipelines.cluster.supervisor import Supervisor
    from spine.settings import Settings

    folder = tmp_path_factory.mktemp("exported")
    fold = FoldTelemetry(folder, fold=0, candidate="c0ffeec0ffee", epochs=10, resumes=0)
    fold.epoch_ended(EpochMetrics(epoch=1, seconds=1, loss=0, pseudo_dice=0, gradient_overflows=0, memory_bytes=1))
    fold.checkpoint_saved()
    registry = CollectorRegistry()
    registry.register(RootCollector(folder, Settings(root=folder), days=7, pause_s=0))
    services = Settings(root=folder, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    open_store(folder, services)
    reconciler = Reconciler(folder, services, pause_s=1, dead_after_s=1)
    assert reconciler.reconcile()
    registry.register(MlflowCollector(reconciler))
    registry.register(_Collector(Supervisor(cast(Any, None), None, None)))
    texts = [Telemetry().text(), (folder / METRICS_FILE).read_bytes(), generate_latest(registry)]
    return {name for text in texts for name in _sample_names(text.decode())}


def _sample_names(text: str) -> set[str]:
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    families = [family for family in text_string_to_metric_families(text) if not family.name.endswith("_created")]
    return {family.name + ending for family in families for ending in endings.get(family.type, ("",))}
