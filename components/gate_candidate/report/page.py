"""The verdict's page as one HTML file without scripts or outside references: verdict first, then the evidence."""

from collections.abc import Sequence
from pathlib import Path

from components.gate_candidate.report import parts, rulings, scores
from components.gate_candidate.report.claims import claims_parts
from components.gate_candidate.report.entrants import Entrant, verdict_entrants
from components.gate_candidate.report.levels import levels_summary, levels_table
from components.gate_candidate.report.pictures import CasePicture
from components.gate_candidate.report.postprocessing import postprocessing_section
from components.gate_candidate.report.regions import regions_table
from model_registry.verdict import Verdict
from spine.drawing.markup import Markup, joined, section, tag
from spine.metrics.postprocessing_variants import Alternative
from spine.metrics.scores import Evaluation
from spine.storage import write_text

_VIEWS = "CT, reference, prediction and difference"
_HOW_TO_READ = (
    "Sagittal: anterior (A) is left, posterior (P) right. Coronal: the patient's right (R) is left, as in front of "
    "the patient. Superior (S) is up. CT window: width 1800, level 400 HU. Each plane is the one with most reference "
    "bone, so a vertebra of a curved spine can lie outside it. A level looks the same in "
    "every picture, and no two levels look alike; in the difference, L3→L2 means: is L3, was named L2."
)


def write_report(
    *,
    path: Path,
    candidate: Evaluation,
    out_of_fold: Evaluation | None,
    champion: Evaluation | None,
    verdict: Verdict,
    pictures: Sequence[CasePicture],
    alternatives: Sequence[Alternative] = (),
) -> None:
    """Write the report of ``verdict`` to ``path``, whole or not at all; same inputs give the same bytes."""
    entrants = verdict_entrants(candidate, champion)
    folds = (Entrant("out of fold", out_of_fold),) if out_of_fold else ()
    body = [
        tag("header", tag("h1", f"Verdict on {candidate.name}"), _about(candidate, verdict)),
        rulings.verdict_band(verdict),
        section("Rules", rulings.rules_table(verdict)),
        section(
            "Scores",
            scores.headline_tiles(entrants),
            scores.level_sentences(candidate),
            scores.headline_table((*entrants, *folds)),
        ),
        section(
            "Regions and levels",
            rulings.unseen(verdict),
            regions_table(entrants),
            parts.boxes_figure(entrants),
        ),
        section("What vertebrae are called", levels_summary(candidate), levels_table(candidate, name="candidate")),
        *_rivals(entrants, verdict),
        parts.flags_section(candidate),
        *postprocessing_section(alternatives),
        *_worst(pictures),
        section("Scans", scores.scans_table(candidate, champion)),
    ]
    title = f"Verdict on {candidate.name}: {verdict.outcome.upper()}"
    write_text(path, parts.page(title=title, body=body, footer=rulings.footer(candidate, verdict)))


def _about(candidate: Evaluation, verdict: Verdict) -> Markup:
    patients = len({scan.patient for scan in candidate.scans if scan.patient is not None})
    known = f" of {patients} patients" if patients else ""
    text = f"{len(candidate.scans)} scans{known}, {verdict.scans} with labels; policy {verdict.policy_name}"
    return tag("p", f"{text}. For research and decision support, not for clinical use.", class_="about")


def _rivals(entrants: tuple[Entrant, ...], verdict: Verdict) -> list[Markup]:
    if len(entrants) == 1:
        return []
    candidate, champion = entrants
    charts = [parts.scatter_figure(new=candidate, old=champion)]
    if rows := rulings.difference_rows(verdict):
        words = "An interval that reaches below its bound doesn't let the rule hold (see Rules)."
        charts.append(parts.differences_figure(rows, new=candidate.name, old=champion.name, caption=words))
    heading = f"Against the model in use ({champion.evaluation.name})"
    return [section(heading, tag("div", *charts, class_="pair"), *claims_parts(verdict))]


def _worst(pictures: Sequence[CasePicture]) -> list[Markup]:
    if not pictures:
        return []
    shown = [
        parts.figure(
            picture.png,
            alt=f"Sagittal and coronal slices of {picture.case}: {_VIEWS}. {picture.caption}",
            caption=joined((tag("strong", f"{place}. {picture.case}"), ": ", picture.caption)),
            kind="case",
        )
        for place, picture in enumerate(pictures, start=1)
    ]
    heading = f"The worst {len(pictures)} cases" if len(pictures) > 1 else "The worst case"
    return [section(heading, tag("p", _HOW_TO_READ), *shown)]
