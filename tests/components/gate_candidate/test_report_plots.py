"""The report's charts: what is written in them stays inside."""

from collections.abc import Callable

from components.gate_candidate.report.entrants import Entrant
from components.gate_candidate.report.plots import scatter
from spine.drawing.figures import Sheet
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize


def test_long_case_names_stay_right_of_the_axis(
    realistic: Callable[..., tuple[Evaluation, Evaluation]],
) -> None:
    candidate, champion = (_renamed(each) for each in realistic(scans=60))
    sheet = Sheet(width=610, height=610)
    axes = sheet.axes(74, 34, 520, 464)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    scatter.name_losses(axes, scatter.scan_pairs(Entrant("a", candidate), Entrant("b", champion)))
    sheet.png()
    assert axes.texts and all(text.get_text().startswith("…") for text in axes.texts)
    for text in axes.texts:
        assert text.get_window_extent().x0 >= axes.get_window_extent().x0


def test_a_scan_with_one_wrong_name_is_not_among_those_named_right(
    realistic: Callable[..., tuple[Evaluation, Evaluation]],
) -> None:
    scan = next(scan for scan in realistic()[0].scans if scan.all_correct)
    first, *others = scan.labels
    odd = scan.model_copy(update={"labels": (first.model_copy(update={"called": 25}), *others)})
    assert scatter.kind(scan) == "names right"
    assert scatter.kind(odd) == "wrong name, or missing"


def _renamed(evaluation: Evaluation) -> Evaluation:
    scans = tuple(
        scan.model_copy(update={"case": f"sub-verse{number}_dir-sag_acq-bone_ct_WWWWWWWW_{scan.case}"})
        for number, scan in enumerate(evaluation.scans)
    )
    return Evaluation(name=evaluation.name, scans=scans, summary=summarize(scans))
