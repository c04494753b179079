"""The report as one HTML file without scripts or outside references: verdict first, then scores, then pictures."""

from collections.abc import Sequence
from pathlib import Path

from components.gate_candidate.report import rulings, scores
from components.gate_candidate.report.pictures import CasePicture
from model_registry.verdict import Verdict
from spine.drawing.markup import Markup, image, joined, section, tag
from spine.drawing.style import CSS
from spine.metrics.scores import Evaluation
from spine.storage import write_text

_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
_VIEWS = "CT, reference, prediction and difference"
_HOW_TO_READ = (
    "Sagittal: anterior (A) is left, posterior (P) right. Coronal: the patient's right (R) is left, as in front of "
    "the patient. Superior (S) is up. CT window: width 1800, level 400 HU. Each plane is the one with most reference "
    "bone, so a vertebra of a curved spine can lie outside it. Every second level is striped; in the "
    "difference, L3→L2 means: is L3, was named L2."
)


def write_report(
    *,
    path: Path,
    candidate: Evaluation,
    out_of_fold: Evaluation | None,
    champion: Evaluation | None,
    verdict: Verdict,
    pictures: Sequence[CasePicture],
) -> None:
    """Write the report of ``verdict`` to ``path``, whole or not at all; same inputs give the same bytes."""
    title = f"Verdict on {candidate.name}: {verdict.outcome.upper()}"
    style = Markup(f"<style>{CSS}</style>")
    head = tag("head", Markup(_META), tag("title", title), style)
    parts = [
        tag("header", tag("h1", f"Verdict on {candidate.name}"), _about(candidate, verdict)),
        rulings.verdict_band(verdict),
        section("Rules", rulings.rules_table(verdict)),
        section(
            "Scores",
            scores.headline_tiles(candidate, champion),
            scores.level_sentences(candidate.summary),
            scores.headline_table(candidate, out_of_fold, champion),
        ),
        _regions(candidate, champion, verdict),
        *_rivals(candidate, champion, verdict),
        *_worst(pictures),
        section("Scans", scores.scans_table(candidate, champion)),
    ]
    body = tag("body", tag("main", *parts), rulings.footer(candidate, verdict))
    write_text(path, f"<!DOCTYPE html>\n{tag('html', head, body, lang='en').html}\n")


def _about(candidate: Evaluation, verdict: Verdict) -> Markup:
    patients = len({scan.patient for scan in candidate.scans if scan.patient is not None})
    known = f" of {patients} patients" if patients else ""
    text = f"{len(candidate.scans)} scans{known}, {verdict.scans} with labels; policy {verdict.policy_name}"
    return tag("p", f"{text}. For research and decision support, not for clinical use.", class_="about")


def _regions(candidate: Evaluation, champion: Evaluation | None, verdict: Verdict) -> Markup:
    from components.gate_candidate.report.plots import vertebra_plot

    known = {label.name: label.dice for label in candidate.summary.labels if label.dice is not None}
    worst = min(known, key=lambda name: known[name], default=None)
    alt = "Box plot of Dice for every vertebra from C1 to S1"
    alt += f"; lowest mean: {worst} with {known[worst]:.3f}." if worst else "; no vertebra has a case."
    return section(
        "Regions and levels",
        rulings.unseen_regions(verdict),
        scores.regions_table(candidate, champion),
        _figure(vertebra_plot(candidate=candidate, champion=champion), alt, "Dice by vertebra."),
    )


def _rivals(candidate: Evaluation, champion: Evaluation | None, verdict: Verdict) -> list[Markup]:
    if champion is None:
        return []
    from components.gate_candidate.report.plots import difference_plot, scatter_plot

    rules = [rule for rule in verdict.rules if rule.difference]
    old = {scan.case: scan.mean_dice for scan in champion.scans}
    pairs = [(scan.mean_dice, old.get(scan.case)) for scan in candidate.scans]
    better = sum(1 for new, before in pairs if new is not None and before is not None and new > before)
    worse = sum(1 for new, before in pairs if new is not None and before is not None and new < before)
    said = f"The candidate is better in {better} scans and worse in {worse}."
    figures = [
        _figure(
            scatter_plot(candidate=candidate, champion=champion),
            f"Scatter plot of each scan's mean Dice, candidate against the model in use. {said}",
            said,
        )
    ]
    if rules:
        alt = "Paired differences of Dice with intervals, overall and by region; the table of rules has the numbers."
        words = "Intervals that reach below the threshold of their rule (see Rules) don't let it hold."
        figures.append(_figure(difference_plot(rules), alt, words))
    return [section(f"Against the model in use ({champion.name})", tag("div", *figures, class_="pair"))]


def _worst(pictures: Sequence[CasePicture]) -> list[Markup]:
    if not pictures:
        return []
    shown = [
        _figure(
            picture.png,
            f"Sagittal and coronal slices of {picture.case}: {_VIEWS}. {picture.caption}",
            joined((tag("strong", picture.case), ": ", picture.caption)),
        )
        for picture in pictures
    ]
    return [section("Worst cases", tag("p", _HOW_TO_READ), *shown)]


def _figure(png: bytes, alt: str, caption: str | Markup) -> Markup:
    return tag("figure", image(png, alt=alt), tag("figcaption", caption))
