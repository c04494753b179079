"""The report as one page without scripts: what was found first, then quarantine, splits, charts, and pictures."""

from collections.abc import Sequence

from components.prepare_dataset.assembly import Prepared
from components.prepare_dataset.checks.catalogue import CHECKS
from components.prepare_dataset.report.histograms import hu_chart, levels_chart, size_chart, spacing_chart
from spine.dataset import FOLDS, Case, Finding
from spine.drawing.markup import Column, Markup, image, joined, section, table, tag
from spine.drawing.style import CSS
from spine.labels import IDS, REGIONS

_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
_HOW_TO_READ = (
    "Sagittal: anterior (A) is left. Coronal: the patient's right (R) is left. CT window: width 1800, level 400 HU. "
    "Each plane is the one with most labelled bone; every second level is striped."
)
_NAMES_SHOWN = 8
_CHART_CSS = ".charts { display: flex; flex-wrap: wrap; gap: 1rem; } .charts figure { margin: 0; }"


def page(prepared: Prepared, *, name: str, warned: Sequence[Case]) -> str:
    """Return the page; the same data set gives the same text, pictures aside."""
    manifest = prepared.manifest
    title = f"Data set {name}"
    head = tag("head", Markup(_META), tag("title", title), Markup(f"<style>{CSS}{_CHART_CSS}</style>"))
    about = (
        f"Layout {manifest.layout}, label map {manifest.label_map}, seed {manifest.seed}. "
        "For research and decision support, not for clinical use."
    )
    parts = [
        tag("header", tag("h1", title), tag("p", about, class_="about")),
        _tiles(prepared, warned),
        section("What was found", _checks_table(manifest.findings)),
        _quarantine(prepared),
        _splits(manifest.cases),
        _charts(prepared),
        _warned(warned),
        _notes(manifest.cases),
    ]
    body = tag("body", tag("main", *parts))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en').html}\n"


def _tiles(prepared: Prepared, warned: Sequence[Case]) -> Markup:
    manifest = prepared.manifest
    found = len(manifest.cases) + len(manifest.quarantine)
    patients = len({case.patient for case in manifest.cases})
    test = manifest.members(split="test")
    tiles = [
        ("cases found", str(found), f"of {patients} accepted patients"),
        ("training", str(len(manifest.members(split="train"))), "in five folds"),
        ("locked test set", str(len(test)), f"of {len({case.patient for case in test})} patients"),
        ("quarantined", str(len(manifest.quarantine)), f"{len(manifest.quarantine) / max(found, 1):.1%} of all"),
        ("warned", str(len(warned)), "accepted, worth a look"),
    ]
    return tag(
        "dl",
        *(tag("div", tag("dt", head), tag("dd", value, class_="big"), tag("dd", more)) for head, value, more in tiles),
        class_="tiles",
    )


def _checks_table(findings: Sequence[Finding]) -> Markup:
    rows = []
    for name, check in CHECKS.items():
        cases = [found.case for found in findings if found.check == name]
        if cases:
            rows.append([name, check.severity, check.about, str(len(cases)), _names(cases)])
    silent = [name for name in CHECKS if name not in {found.check for found in findings}]
    columns = [Column("check", "row"), Column("severity", "words"), Column("holds when", "words"), Column("findings"),
               Column("cases", "words")]  # fmt: skip
    message = table("Checks that found something.", columns, rows) if rows else tag("p", "No check found anything.")
    return joined(
        [message, tag("p", f"Nothing was found by {len(silent)} checks: {', '.join(silent)}.", class_="about")]
    )


def _quarantine(prepared: Prepared) -> Markup:
    rows = [
        [row.case, row.patient, found.check, found.message]
        for row in prepared.manifest.quarantine
        for found in row.findings
        if found.severity == "reject"
    ]
    if not rows:
        return section("Quarantine", tag("p", "No case was left out."))
    columns = [Column("case", "row"), Column("patient", "words"), Column("check", "words"), Column("why", "words")]
    return section("Quarantine", table("Cases that were left out; none was repaired.", columns, rows))


def _splits(cases: Sequence[Case]) -> Markup:
    places = [("test", None), *(("train", fold) for fold in range(FOLDS))]
    rows = []
    for split, fold in places:
        members = [case for case in cases if case.split == split and case.fold == fold]
        seen = [sum(bool(_shown(case) & set(labels)) for case in members) for labels in REGIONS.values()]
        name = "locked test set" if fold is None else f"fold {fold}"
        patients = len({case.patient for case in members})
        rows.append([name, str(len(members)), str(patients), *(str(count) for count in seen)])
    columns = [Column("", "row"), Column("cases"), Column("patients"), *(Column(region) for region in REGIONS)]
    caption = "Cases that show each region; no patient, and nothing that looks like one scan, is in two rows."
    empty = [str(fold) for fold in range(FOLDS) if not any(case.fold == fold for case in cases)]
    message = f"No case validates fold {', '.join(empty)}: there are too few patients." if empty else ""
    return section("Splits", table(caption, columns, rows), tag("p", message))


def _shown(case: Case) -> set[int]:
    return {IDS[name] for name in case.label_voxels if name not in case.fragments}


def _charts(prepared: Prepared) -> Markup:
    cases = prepared.manifest.cases
    if not cases:
        return Markup("")
    charts = [
        _figure(image(spacing_chart(cases), alt="Histogram of spacing by axis"), "Spacing"),
        _figure(image(size_chart(cases), alt="Histogram of the field of view by axis"), "Size"),
        _figure(image(hu_chart(prepared), alt="Histogram of HU over all cases"), "HU"),
    ]
    levels = _figure(image(levels_chart(cases), alt="Cases by vertebra, training and test"), "Vertebrae seen")
    return section("Distributions", levels, tag("div", *charts, class_="charts"))


def _warned(warned: Sequence[Case]) -> Markup:
    if not warned:
        return section("Warned cases", tag("p", "No case was warned about."))
    shown = [_picture(case) for case in warned]
    return section("Warned cases", tag("p", _HOW_TO_READ), *shown)


def _picture(case: Case) -> Markup:
    message = "; ".join(f"{found.check}: {found.message}" for found in case.findings if found.severity == "warn")
    drawn = Markup(tag("img", alt=f"{case.case}: {message}", src=f"pictures/{case.case}.png", loading="lazy").html)
    place = "test" if case.fold is None else f"fold {case.fold}"
    return _figure(drawn, joined((tag("strong", case.case), f" ({place}): {message}")))


def _notes(cases: Sequence[Case]) -> Markup:
    rows = [[case.case, found.check, found.message] for case in cases for found in case.findings
            if found.severity == "note"]  # fmt: skip
    columns = [Column("case", "row"), Column("check", "words"), Column("what", "words")]
    if not rows:
        return Markup("")
    return section("Notes", table("Nothing to do: recorded, so that nobody wonders later.", columns, rows))


def _names(cases: Sequence[str]) -> str:
    unique = sorted(set(cases))
    more = f" and {len(unique) - _NAMES_SHOWN} more" if len(unique) > _NAMES_SHOWN else ""
    return ", ".join(unique[:_NAMES_SHOWN]) + more


def _figure(drawn: Markup, caption: str | Markup) -> Markup:
    return tag("figure", drawn, tag("figcaption", caption))
