"""The monitor's metrics by name: what was seen of a root as families that Prometheus reads."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from components.monitor_root.folds import FoldStanding, Training
from components.monitor_root.ledger import LedgerStanding
from components.monitor_root.reconciler import MlflowStanding
from components.monitor_root.verdicts import Judged
from model_registry.ledger import Kind
from model_registry.replicas import ReplicaReport
from spine.journal import Status

if TYPE_CHECKING:
    from model_registry.verdict import Outcome

_Row = tuple[Sequence[str], float | None]
_FOLD = ("candidate", "fold")
_OUTCOMES: tuple["Outcome", ...] = ("pass", "fail", "inconclusive")
_SINCE = "in seconds since 1970."


def of_training(training: Training) -> Iterator[Metric]:
    """Yield a sample a fold of each value; those that a trainer tells by itself have the names that it gives them."""
    for name, help_text, value in (
        ("status_timestamp_seconds", f"When it told its status, {_SINCE}", lambda fold: fold.summary.status_at_s),
        ("epoch", "Epochs trained.", lambda fold: fold.summary.epoch),
        ("epochs", "Epochs that the training has.", lambda fold: fold.epochs),
        ("last_epoch_timestamp_seconds", f"When the last epoch ended, {_SINCE}", lambda fold: fold.summary.epoch_at_s),
        (
            "last_checkpoint_timestamp_seconds",
            f"When the newest checkpoint was written, {_SINCE}",
            lambda fold: fold.checkpoint_at_s,
        ),
        ("epoch_seconds", "Seconds that the last epoch took.", _of_last_epoch("epoch_seconds")),
        ("loss", "Mean training loss of the last epoch.", _of_last_epoch("train_loss")),
        (
            "pseudo_dice",
            "nnU-Net's pseudo-Dice of the last epoch: on random patches, never evidence.",
            _of_last_epoch("pseudo_dice"),
        ),
    ):
        yield gauge(f"training_{name}", help_text, _FOLD, [(_labels(fold), value(fold)) for fold in training.folds])
    states: list[_Row] = [
        ((*_labels(fold), status.lower()), float(fold.summary.status == status))
        for fold in training.folds
        for status in get_args(Status)
    ]
    yield gauge("training_status", "1 for the status that the fold told last.", (*_FOLD, "status"), states)
    help_text = "Candidates that were active lately and are not told of, being too many."
    yield gauge("monitor_candidates_left_out", help_text, (), [((), training.left_out)])


def of_verdicts(judged: Judged) -> Iterator[Metric]:
    """Yield verdicts by outcome, and those on evaluations that were judged lately."""
    counts = Counter(verdict.outcome for verdict in judged.verdicts)
    newest = {verdict.outcome: verdict.at_s for verdict in judged.verdicts}
    lasting: list[_Row] = [((outcome,), counts[outcome]) for outcome in _OUTCOMES]
    yield gauge("gate_verdicts", "Verdicts that lie below the root.", ("outcome",), lasting)
    yield gauge(
        "gate_last_verdict_timestamp_seconds",
        f"When the newest verdict of an outcome was made, {_SINCE}",
        ("outcome",),
        [((outcome,), newest.get(outcome)) for outcome in _OUTCOMES],
    )
    yield gauge(
        "gate_verdict_timestamp_seconds",
        f"When the newest verdict on an evaluation judged lately was made, {_SINCE}",
        ("evaluation", "outcome"),
        [((verdict.evaluation, verdict.outcome), verdict.at_s) for verdict in judged.lately],
    )
    yield gauge("gate_verdicts_unreadable", "Verdicts that can't be read.", (), [((), judged.unreadable)])


def of_ledger(ledger: LedgerStanding) -> Iterator[Metric]:
    """Yield how the ledger stands; what can't be known where it is away or unsound is left out."""
    yield gauge("ledger_reachable", "1 where the ledger can be read.", (), [((), float(ledger.is_reachable))])
    if not ledger.is_reachable:
        return
    yield gauge("ledger_sound", "1 where the chain of its events verifies.", (), [((), float(ledger.is_sound))])
    if not ledger.is_sound:
        return
    events = CounterMetricFamily("spineline_ledger_events", "Events of the ledger.", labels=("kind",))
    for kind in get_args(Kind):
        events.add_metric((kind,), ledger.events.get(kind, 0))
    yield events
    at_s = datetime.fromisoformat(ledger.newest.at).timestamp() if ledger.newest else None
    for name, help_text, value in (
        ("ledger_version_in_use", "The version in use; 0 for none.", ledger.in_use or 0),
        ("ledger_version_before", "The version that a rollback returns to; 0 for none.", ledger.before or 0),
        ("ledger_last_event_timestamp_seconds", f"When the newest event was made, {_SINCE}", at_s),
        ("ledger_unrecognized_files", "Files beside the events that are not events.", ledger.unrecognized_files),
        ("ledger_lost_events", "Servers and MLflow that have seen an event which the ledger lacks.", ledger.lost),
    ):
        yield gauge(name, help_text, (), [((), value)])


def of_replicas(reports: Sequence[ReplicaReport]) -> Iterator[Metric]:
    """Yield the servers by version and freshness, and those in trouble."""
    servers = Counter(
        ("none" if each.version is None else str(each.version), "fresh" if each.is_fresh else "silent")
        for each in reports
    )
    fresh = [each for each in reports if each.is_fresh]
    failing = sum(each.failure is not None for each in fresh)
    cut_off = sum(each.ledger_problem is not None for each in fresh)
    help_text = "Servers that follow the ledger, by the version that they answer with, and whether they still report."
    yield gauge("replicas", help_text, ("version", "freshness"), [(key, count) for key, count in servers.items()])
    yield gauge("replicas_failing", "Servers that can't bring a version live.", (), [((), failing)])
    yield gauge("replicas_cut_off", "Servers that can't follow the ledger.", (), [((), cut_off)])


def of_mlflow(mlflow: MlflowStanding | None) -> Iterator[Metric]:
    """Yield the state of MLflow beside the ledger; nothing without MLflow or before the first comparison."""
    if mlflow is None or mlflow.is_reachable is None:
        return
    unrepaired = None if mlflow.differences is None else len(mlflow.differences)
    for name, help_text, value in (
        ("mlflow_reachable", "1 where MLflow answers.", float(mlflow.is_reachable)),
        ("mlflow_differences", "Differences between MLflow and the ledger that only a person can repair.", unrepaired),
        (
            "mlflow_reconciled_timestamp_seconds",
            f"When MLflow was last made equal to the ledger, {_SINCE}",
            mlflow.reconciled_at_s,
        ),
    ):
        yield gauge(name, help_text, (), [((), value)])
    yield CounterMetricFamily("spineline_mlflow_failures", "Comparisons with MLflow that failed.", mlflow.failures)
    ended = CounterMetricFamily("spineline_mlflow_runs_ended", "Runs of dead trainings ended.", labels=("status",))
    for status in get_args(Status):
        if status != "RUNNING":
            ended.add_metric((status.lower(),), mlflow.ended.get(status, 0))
    yield ended


def gauge(name: str, help_text: str, labels: Sequence[str], rows: Sequence[_Row]) -> Metric:
    """Return a gauge with a sample a row; one whose value is not known is left out."""
    family = GaugeMetricFamily(f"spineline_{name}", help_text, labels=labels)
    for values, number in rows:
        if number is not None:
            family.add_metric(values, number)
    return family


def _labels(fold: FoldStanding) -> tuple[str, str]:
    return fold.candidate, str(fold.fold)


def _of_last_epoch(name: str) -> Callable[[FoldStanding], float | None]:
    return lambda fold: fold.summary.metrics.get(name)
