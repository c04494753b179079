"""Writes the dashboards beside this file: ``python infra/observability/grafana/dashboards.py [FOLDER]``."""

import sys
from pathlib import Path

from panels import Dashboard, Panel, Query, Variable

_HERE = 'namespace=~"$namespace"'
_CHOSEN = f'{_HERE}, candidate=~"$candidate"'
_FOLD = "{{candidate}} fold {{fold}}"


def _by_fold(metric: str) -> Query:
    """Ask for a value that the trainer and the monitor both tell."""
    return Query(f"max by (candidate, fold) ({metric}{{{_CHOSEN}}})", _FOLD)


def _within_an_hour(metric: str, labels: str) -> str:
    return f"sum by ({labels}) (increase({metric}{{{_HERE}}}[1h]))"


def _rate(metric: str) -> str:
    return f"rate({metric}{{{_HERE}}}[$__rate_interval])"


_STATUS = f"max by (candidate, fold, status) (spineline_training_status{{{_CHOSEN}}})"
_STAGES = "spineline_segmentation_stage_seconds_bucket"
_LAST_VERDICT = f"spineline_gate_last_verdict_timestamp_seconds{{{_HERE}}}"
_LEFT_S = (
    f"(max by (candidate, fold) (spineline_training_epochs{{{_CHOSEN}}})"
    f" - max by (candidate, fold) (spineline_training_epoch{{{_CHOSEN}}}))"
    f" * max by (candidate, fold) (spineline_training_epoch_seconds{{{_CHOSEN}}})"
)

TRAINING = Dashboard(
    uid="spineline-training",
    title="Spineline: training",
    about="Folds as they train, and how they ended; the monitor tells of those whose pods are gone.",
    hours=24,
    variables=(
        Variable("namespace", "Namespace", "spineline_training_status"),
        Variable("candidate", "Candidate", "spineline_training_status"),
    ),
    panels=(
        Panel(
            "Folds by status", "What each fold told last.", "none",
            (Query(f"sum by (status) ({_STATUS})", "{{status}}"),),
            kind="stat", height=4,
        ),
        Panel(
            "Verdicts of the gate", "All that lie below the root.", "none",
            (Query(f"max by (outcome) (spineline_gate_verdicts{{{_HERE}}})", "{{outcome}}"),),
            kind="stat", height=4,
        ),
        Panel(
            "Alerts", "What calls now; the runbook has an entry for each.", "none",
            (Query('ALERTS{alertname=~"Spineline.+", alertstate="firing"}', "{{alertname}}"),),
            kind="table", height=4,
        ),
        Panel(
            "Progress", "Share of the epochs that are trained.", "percentunit",
            (Query(f"spineline:training_progress_ratio{{{_CHOSEN}}}", _FOLD),),
        ),
        Panel("Time to go", "Epochs left, at the length of the last one.", "dtdurations", (Query(_LEFT_S, _FOLD),)),
        Panel("Length of an epoch", "What the last one took.", "s", (_by_fold("spineline_training_epoch_seconds"),)),
        Panel("Training loss", "Mean of the last epoch.", "short", (_by_fold("spineline_training_loss"),), decimals=3),
        Panel(
            "Pseudo-Dice", "nnU-Net's, on random patches: whether it learns, never how good it is.", "percentunit",
            (_by_fold("spineline_training_pseudo_dice"),),
        ),
        Panel(
            "Status", "1 while a fold says that it runs.", "bool_yes_no",
            (Query(f'max by (candidate, fold) (spineline_training_status{{{_CHOSEN}, status="running"}})', _FOLD),),
            kind="state-timeline",
        ),
        Panel(
            "Age of the newest checkpoint", "Of folds that run; 30 minutes call.", "dtdurations",
            (Query(f"spineline:training_checkpoint_age_seconds{{{_CHOSEN}}}", _FOLD),),
        ),
        Panel(
            "Since the last epoch", "Of folds that run; five epochs' length calls.", "dtdurations",
            (
                Query(f"spineline:training_epoch_age_seconds{{{_CHOSEN}}}", _FOLD),
                Query(f"spineline:training_epoch_limit_seconds{{{_CHOSEN}}}", f"{_FOLD}: limit"),
            ),
        ),
        Panel(
            "Memory", "Peak on the GPU; on the CPU, of the process. By the trainer alone.", "bytes",
            (_by_fold("spineline_training_device_memory_bytes"),),
        ),
        Panel(
            "Resumes and overflows", "Starts from a checkpoint, and steps left out as a gradient overflowed.", "short",
            (
                Query(_by_fold("spineline_training_resumes_total").expr, f"{_FOLD}: resumes"),
                Query(_by_fold("spineline_training_gradient_overflows_total").expr, f"{_FOLD}: overflows"),
            ),
        ),
        Panel(
            "Since the last verdict", "By what it said.", "dtdurations",
            (Query(f"time() - max by (outcome) ({_LAST_VERDICT})", "{{outcome}}"),),
            kind="stat",
        ),
    ),
)  # fmt: skip

SERVING = Dashboard(
    uid="spineline-serving",
    title="Spineline: serving",
    about="Requests, the time they take, and what the scans are like.",
    variables=(Variable("namespace", "Namespace", "spineline_segmentations_queued"),),
    panels=(
        Panel(
            "Versions that answer", "Servers by version.", "none",
            (Query(f"count by (version) (spineline_live_model_info{{{_HERE}}})", "version {{version}}"),),
            kind="stat", width=6, height=4,
        ),
        Panel(
            "Golden case", "Dice of the model that answers; at least 0.99.", "none",
            (Query(f"spineline_golden_case_dice{{{_HERE}}}", "{{instance}}"),),
            kind="stat", width=6, height=4, decimals=4,
        ),
        Panel(
            "Failed requests", "Share of segmentation requests with a status of 5xx.", "percentunit",
            (Query(f"spineline:segmentation_errors:ratio5m{{{_HERE}}}", "failed"),),
            kind="stat", width=6, height=4,
        ),
        Panel(
            "Trouble", "1 where a server is behind the ledger, can't read it, or can't use its tokens.", "none",
            (
                Query(f"max(spineline_model_behind_ledger{{{_HERE}}})", "behind"),
                Query(f"max(spineline_ledger_problem{{{_HERE}}})", "ledger"),
                Query(f"max(spineline_tokens_file_problem{{{_HERE}}})", "tokens"),
            ),
            kind="stat", width=6, height=4,
        ),
        Panel(
            "Segmentation requests", "By status.", "reqps",
            (Query(f"spineline:segmentation_requests:rate5m{{{_HERE}}}", "{{status}}"),),
        ),
        Panel(
            "All requests", "By route and status.", "reqps",
            (Query(f"sum by (route, status) ({_rate('spineline_http_requests_total')})", "{{route}} {{status}}"),),
        ),
        Panel(
            "Under way", "Scans being worked on or waiting, and those that wait.", "none",
            (
                Query(f"sum(spineline_segmentations_in_progress{{{_HERE}}})", "under way"),
                Query(f"spineline:segmentations_queued{{{_HERE}}}", "waiting"),
            ),
        ),
        Panel(
            "Slowest of twenty", "95th percentile of each stage, over 15 minutes.", "s",
            (Query(f"spineline:segmentation_stage_seconds:p95_15m{{{_HERE}}}", "{{stage}}"),),
        ),
        Panel(
            "Median", "Of each stage.", "s",
            (Query(f"histogram_quantile(0.5, sum by (stage, le) ({_rate(_STAGES)}))", "{{stage}}"),),
        ),
        Panel(
            "Changes of the model", "Within an hour, by how they went.", "none",
            (
                Query(_within_an_hour("spineline_model_swaps_total", "result"), "{{result}}"),
                Query(f"sum(increase(spineline_golden_case_failures_total{{{_HERE}}}[1h]))", "golden case failed"),
            ),
        ),
        Panel(
            "Spacing of the scans", "Mean of a day and of two weeks.", "lengthmm",
            (
                Query(f"spineline:input_spacing_mm:mean1d{{{_HERE}}}", "{{axis}}, a day"),
                Query(f"spineline:input_spacing_mm:mean14d{{{_HERE}}}", "{{axis}}, two weeks"),
            ),
            decimals=2,
        ),
        Panel(
            "Vertebrae in a mask", "Mean of a day and of two weeks, and scans of a day.", "short",
            (
                Query(f"spineline:vertebrae_found:mean1d{{{_HERE}}}", "a day"),
                Query(f"spineline:vertebrae_found:mean14d{{{_HERE}}}", "two weeks"),
                Query(f"spineline:scans:increase1d{{{_HERE}}}", "scans"),
            ),
            decimals=1,
        ),
        Panel(
            "Flags for the reader", "The most frequent of an hour.", "short",
            (Query(f"topk(8, {_within_an_hour('spineline_flags_total', 'flag')})", "{{flag}}"),),
        ),
        Panel(
            "Audit lines lost", "Within an hour; each is one too many.", "none",
            (Query(_within_an_hour("spineline_audit_lines_lost_total", "instance"), "{{instance}}"),),
        ),
    ),
)  # fmt: skip

REGISTRY = Dashboard(
    uid="spineline-registry",
    title="Spineline: registry",
    about="The ledger, who follows it, and what the gate said.",
    hours=24,
    variables=(Variable("namespace", "Namespace", "spineline_ledger_reachable"),),
    panels=(
        Panel(
            "Version in use", "0 for none.", "none",
            (Query(f"spineline_ledger_version_in_use{{{_HERE}}}", "in use"),),
            kind="stat", width=6, height=4,
        ),
        Panel(
            "A rollback returns to", "0 for none.", "none",
            (Query(f"spineline_ledger_version_before{{{_HERE}}}", "before"),),
            kind="stat", width=6, height=4,
        ),
        Panel(
            "Ledger", "Whether it can be read, and whether its chain verifies.", "bool_yes_no",
            (
                Query(f"spineline_ledger_reachable{{{_HERE}}}", "reachable"),
                Query(f"spineline_ledger_sound{{{_HERE}}}", "sound"),
            ),
            kind="stat", width=6, height=4,
        ),
        Panel(
            "Since the newest event", "Whatever it was.", "dtdurations",
            (Query(f"time() - spineline_ledger_last_event_timestamp_seconds{{{_HERE}}}", "ago"),),
            kind="stat", width=6, height=4,
        ),
        Panel(
            "Version in use over time", "Steps are promotions and rollbacks.", "none",
            (Query(f"spineline_ledger_version_in_use{{{_HERE}}}", "in use"),),
        ),
        Panel(
            "Servers by version", "Fresh ones report every few seconds; silent ones were killed or cut off.", "none",
            (Query(f"max by (version, freshness) (spineline_replicas{{{_HERE}}})", "{{version}}, {{freshness}}"),),
        ),
        Panel(
            "Servers in trouble", "Those that can't bring a version live, or can't follow the ledger.", "none",
            (
                Query(f"max(spineline_replicas_failing{{{_HERE}}})", "failing"),
                Query(f"max(spineline_replicas_cut_off{{{_HERE}}})", "cut off"),
            ),
        ),
        Panel(
            "Events", "By kind, since the beginning.", "none",
            (Query(f"max by (kind) (spineline_ledger_events_total{{{_HERE}}})", "{{kind}}"),),
        ),
        Panel(
            "Lost events and unrecognized files", "Events that the ledger lacks, files that are no events.", "none",
            (
                Query(f"spineline_ledger_lost_events{{{_HERE}}}", "lost"),
                Query(f"spineline_ledger_unrecognized_files{{{_HERE}}}", "unrecognized files"),
            ),
        ),
        Panel(
            "MLflow beside the ledger", "What the monitor cannot repair, and comparisons that failed.", "none",
            (
                Query(f"spineline_mlflow_reachable{{{_HERE}}}", "reachable"),
                Query(f"spineline_mlflow_differences{{{_HERE}}}", "differences"),
                Query(f"increase(spineline_mlflow_failures_total{{{_HERE}}}[15m])", "failures in 15 min"),
            ),
        ),
        Panel(
            "Runs of dead trainings", "Ended in MLflow by the monitor since it began, by status.", "none",
            (Query(f"sum by (status) (spineline_mlflow_runs_ended_total{{{_HERE}}})", "{{status}}"),),
        ),
        Panel(
            "Verdicts judged lately", "How long ago, by evaluation.", "dtdurations",
            (Query(f"time() - spineline_gate_verdict_timestamp_seconds{{{_HERE}}}", "{{evaluation}}: {{outcome}}"),),
            kind="stat",
        ),
        Panel(
            "The monitor", "Seconds of a look at the root, and parts of it that can't be read.", "short",
            (
                Query(f"spineline_monitor_look_seconds{{{_HERE}}}", "a look, s"),
                Query(f"sum(spineline_monitor_problem{{{_HERE}}})", "parts"),
                Query(f"spineline_gate_verdicts_unreadable{{{_HERE}}}", "unreadable verdicts"),
                Query(f"spineline_monitor_candidates_left_out{{{_HERE}}}", "candidates left out"),
            ),
        ),
        Panel(
            "What is scraped", "1 for a target that answers.", "none",
            (Query(f'min by (job, instance) (up{{job=~"spineline-.+", {_HERE}}})', "{{job}} {{instance}}"),),
        ),
    ),
)  # fmt: skip

PAGES = {"training": TRAINING, "serving": SERVING, "registry": REGISTRY}


def main(folder: Path) -> None:
    """Write a JSON file a page."""
    for name, page in PAGES.items():
        (folder / f"{name}.json").write_text(page.text(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
