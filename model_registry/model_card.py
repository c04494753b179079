"""The model card of a version, in Markdown: what it is for, what it learnt from, how good it is, what it can't do."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from model_registry.bundle import Bundle
from model_registry.intervals import Estimate, groups
from model_registry.ledger import Event
from model_registry.lineage import Lineage, verdict_of
from model_registry.model_summary import about_recipe, network_facts
from model_registry.verdict import Rule, Verdict
from spine.dataset import MANIFEST_FILE as DATASET_MANIFEST
from spine.dataset import Manifest
from spine.labels import NAMES
from spine.metrics.scores import Evaluation
from spine.storage import short

DATASET_FILE: Final = f"dataset_{DATASET_MANIFEST}"
_NONE: Final = "-"
_USE: Final = (
    "Labels the vertebrae C1 to S1 in computed tomography of the spine, one id a vertebra, for research and as "
    "decision support whose every mask a trained reader looks at.",
    "**Not for clinical use.** It is no medical device: no diagnosis, treatment or report may rest on it.",
    "Made for CT alone, not for magnetic resonance or radiographs.",
    "Whether its data hold implants, fractures, tumours or children is not recorded: take it for untested on them.",
)
_LIMITS: Final = (
    "Spines with a vertebra too many or too few (L6, T13, sacralised L5) have no label of their own: names may be "
    "shifted by one.",
    "A vertebra that the field of view cuts is labelled as far as it is seen: its volume is a lower bound.",
    "Intervals say how far the mean of these patients may be off, not how it does on other scanners, protocols or "
    "populations.",
)


def model_card(bundle: Bundle, *, name: str, lineage: Lineage) -> str:
    """Return the model card of a version in Markdown; what its bundle doesn't hold is said to be unknown."""
    evaluation = Evaluation.from_stored(bundle.json("evaluation.json"), where=bundle.folder / "evaluation.json")
    verdict = verdict_of(bundle)
    sections = (
        (f"# {name}, version {lineage.version}", _head(lineage)),
        ("## What it is", _facts(bundle, lineage)),
        ("## Intended use", _bullets(_USE)),
        ("## Data", _data(bundle, lineage)),
        ("## How good it is", _performance(evaluation)),
        ("## Limits", _bullets(_limits(evaluation, verdict))),
        ("## How it was decided", _decision(verdict, lineage)),
        ("## What became of it", _life(lineage.events)),
    )
    return "\n\n".join("\n".join([title, "", *lines]) for title, lines in sections) + "\n"


def _head(lineage: Lineage) -> list[str]:
    as_of = f"As of event {lineage.as_of_event} of the ledger, {lineage.as_of}, the last that concerns this version."
    return ["**For research and decision support, not for clinical use.**", "", as_of]


def _facts(bundle: Bundle, lineage: Lineage) -> list[str]:
    facts = {
        "model digest": lineage.model_digest,
        "recipe": about_recipe(bundle),
        "network": f"nnU-Net v2, configuration {lineage.configuration}, plans {lineage.plans_digest or 'unknown'}",
        "folds": ", ".join(str(fold.fold) for fold in lineage.folds),
        "started from": f"version {lineage.started_from}" if lineage.started_from else _start(lineage),
        **network_facts(bundle),
        "code": lineage.provenance.code_revision,
        "stage": lineage.stage,
    }
    return [*_table(["", ""], facts.items()), "", "Axes are left-right × anterior-posterior × superior-inferior."]


def _start(lineage: Lineage) -> str:
    if all(fold.epochs is None for fold in lineage.folds):
        return "unknown"
    weights = next((fold.started_from for fold in lineage.folds if fold.started_from), None)
    return f"weights {short(weights)} of no version" if weights else "random weights"


def _data(bundle: Bundle, lineage: Lineage) -> list[str]:
    provenance = lineage.provenance
    repository = f" of {lineage.repository}" if lineage.repository else ""
    revision = [f"Data set {provenance.dvc_hash}, git revision {provenance.git_revision}{repository}.", ""]
    if not (bundle.folder / DATASET_FILE).is_file():
        return [*revision, "Its cases are not listed in the bundle."]
    manifest = Manifest.from_stored(bundle.json(DATASET_FILE), where=bundle.folder / DATASET_FILE)
    splits = {split: manifest.members(split=split) for split in ("train", "test")}
    counts = [
        (split, len(cases), len({case.patient for case in cases}), *(_shown(case.label_voxels for case in cases)))
        for split, cases in splits.items()
    ]
    made = f"Raw scans laid out as '{manifest.layout}', labels as '{manifest.label_map}'."
    left_out = (
        f" Left out by the checks: {_counted(len(manifest.quarantine), 'case', 'cases')}."
        if manifest.quarantine
        else ""
    )
    table = _table(["split", "scans", "patients", "levels in the reference", "levels in none"], counts)
    return [*revision, *table, "", made + left_out]


def _shown(voxels: Iterable[dict[str, int]]) -> tuple[str, str]:
    seen = {name for case in voxels for name, count in case.items() if count}
    return f"{len(seen)} of {len(NAMES)}", ", ".join(name for name in NAMES.values() if name not in seen) or "none"


def _performance(evaluation: Evaluation) -> list[str]:
    said = (
        f"On the {evaluation.summary.scans} scans of the locked test set, which nothing was chosen on. Dice, NSD and "
        "HD95 are means over patients, of whom several scans are averaged first, as the verdict decides on them; the "
        "ID rate is over all vertebrae. In brackets the 95 % interval over patients. Counted are the vertebrae that "
        "the reference shows. Missed are those of them whose name the prediction doesn't hold: they count 0 in Dice "
        "and NSD, and have no HD95, which is that of the others alone."
    )
    rows = [
        (group.name, group.patients, group.vertebrae, group.missed, _share(group.dice), _share(group.nsd_3mm),
         _millimetres(group.hd95_mm), _share(group.id_rate))
        for group in groups(evaluation)
    ]  # fmt: skip
    columns = [
        "group", "patients", "in the reference", "missed", "Dice", "NSD at 3 mm", "HD95 of those not missed (mm)",
        "ID rate",
    ]  # fmt: skip
    return [said, "", *_table(columns, rows)]


def _limits(evaluation: Evaluation, verdict: Verdict) -> Iterator[str]:
    summary = evaluation.summary
    if verdict.regions_without_cases:
        yield f"Never tested on {_listed(verdict.regions_without_cases)}: nothing is known of it there."
    if verdict.levels_without_cases:
        yield f"Levels without a test case: {_listed(verdict.levels_without_cases)}."
    if verdict.regions_not_compared:
        yield f"Too few patients to compare it with the model in use: {_listed(verdict.regions_not_compared)}."
    if summary.wrong_level_cases:
        yield f"Named at a wrong level: {len(summary.wrong_level_cases)} of {summary.scans} test scans."
    if summary.extra_vertebra_cases:
        yield f"A vertebra too many: {len(summary.extra_vertebra_cases)} of {summary.scans} test scans."
    for flag, count in _flags(evaluation):
        yield f"Reader's flag '{flag}': raised on {_counted(count, 'vertebra', 'vertebrae')} of the test set."
    undecided = [rule.name for rule in verdict.rules if rule.passed is None]
    if undecided:
        yield f"Left open by the evidence: {_listed(undecided)}."
    yield from _LIMITS


def _flags(evaluation: Evaluation) -> list[tuple[str, int]]:
    raised = [flag for scan in evaluation.scans for vertebra in scan.vertebrae for flag in vertebra.flags]
    return [(flag, raised.count(flag)) for flag in sorted(set(raised))]


def _decision(verdict: Verdict, lineage: Lineage) -> list[str]:
    rival = "no model, as none was in use"
    if verdict.champion:
        number = "its number is not known"
        if lineage.held_against:
            number = f"version {lineage.held_against}, in use when this one was registered"
        rival = f"the model in use on the same scans ({number}; evaluation {short(verdict.champion)})"
    said = f"Verdict **{verdict.outcome}** under policy {lineage.policy}, held against {rival}: {verdict.summary}"
    rows = [(rule.name, *_ruling(rule), rule.expected, _passed(rule)) for rule in verdict.rules]
    return [_text(said), "", *_table(["rule", "value", "interval", "expected", "met"], rows)]


def _ruling(rule: Rule) -> tuple[str, str]:
    value = rule.difference.mean if rule.difference else rule.value
    low, high = (rule.difference.low, rule.difference.high) if rule.difference else (rule.low, rule.high)
    return _number(value), _NONE if low is None or high is None else f"{_number(low)} to {_number(high)}"


def _passed(rule: Rule) -> str:
    return "open" if rule.passed is None else "yes" if rule.passed else "no"


def _life(events: Sequence[Event]) -> list[str]:
    actors = {event.kind: event.actor for event in events if event.kind in ("register", "approve")}
    alone = len(actors) == 2 and len(set(actors.values())) == 1
    remark = f"Registered and approved by one and the same, {actors['register']}: no second person signed it off."
    rows = [(event.number, event.at, event.actor, f"{event.kind} {event.version}", event.reason) for event in events]
    table = _table(["event", "when (UTC)", "who", "what", "why"], rows)
    return [*table, "", _text(remark)] if alone else table


def _share(found: Estimate) -> str:
    return _written(found, digits=3)


def _millimetres(found: Estimate) -> str:
    return _written(found, digits=1)


def _written(found: Estimate, *, digits: int) -> str:
    if found.value is None:
        return _NONE
    value = f"{found.value:.{digits}f}"
    return f"{value} [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]" if found.interval else value


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4g}"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {_text(line)}" for line in lines]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    head = [columns, ["---"] * len(columns)]
    return [f"| {' | '.join(_text(str(cell)) for cell in row)} |" for row in (*head, *rows)]


def _text(text: str) -> str:
    """Return a text that ends no cell, line or paragraph and is no HTML, whoever wrote it."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
