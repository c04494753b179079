"""Both pages on realistic, empty, tiny and foreign evaluations: complete, alone, and the same bytes each time."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from components.gate_candidate.report import CasePicture, write_comparison, write_report
from components.gate_candidate.report.claims import claims_parts
from components.gate_candidate.report.differences import contrast
from components.gate_candidate.report.entrants import Entrant
from model_registry.gate import judge
from model_registry.policy import load_policy
from spine.drawing.markup import joined
from spine.labels import NAMES
from spine.metrics.postprocessing_variants import Alternative
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize

Realistic = Callable[..., tuple[Evaluation, Evaluation]]
Counted = Callable[[Evaluation], Evaluation]


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., str]:
    """A function of a candidate and a model in use that gives the report's HTML."""

    def write(candidate: Evaluation, champion: Evaluation | None = None, **more: object) -> str:
        verdict = judge(candidate=candidate, champion=champion, policy=load_policy("research"))
        given = {"out_of_fold": None, "pictures": (), "champion": champion, **more}
        write_report(path=tmp_path / "report.html", candidate=candidate, verdict=verdict, **given)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


@pytest.fixture
def comparison(tmp_path: Path) -> Callable[..., str]:
    """A function of evaluations that gives the HTML of their comparison."""

    def write(evaluations: Sequence[Evaluation]) -> str:
        entrants = [Entrant(f"model <{place}>", each) for place, each in enumerate(evaluations)]
        contrasts = [contrast(entrant, entrants[0]) for entrant in entrants[1:]]
        write_comparison(path=tmp_path / "comparison.html", entrants=entrants, contrasts=contrasts)
        return (tmp_path / "comparison.html").read_text(encoding="utf-8")

    return write


def _only(evaluation: Evaluation, cases: slice) -> Evaluation:
    scans = evaluation.scans[cases]
    return Evaluation(name=evaluation.name, scans=scans, summary=summarize(scans))


@pytest.fixture(scope="module")
def whole(realistic: Realistic, parse_page, tmp_path_factory: pytest.TempPathFactory):
    """A report with everything in it, taken apart, and its verdict."""
    candidate, champion = realistic()
    verdict = judge(candidate=candidate, champion=champion, policy=load_policy("research"))
    path = tmp_path_factory.mktemp("whole") / "report.html"
    write_report(
        path=path,
        candidate=candidate,
        out_of_fold=champion,
        champion=champion,
        verdict=verdict,
        pictures=[CasePicture(case=f"bad_{number}", caption="Dice 0.1", png=b"\x89PNG") for number in range(10)],
        alternatives=(
            Alternative(name="none", out_of_fold=champion.summary, test=None, chosen=False),
            Alternative(name="decoding <b>", out_of_fold=candidate.summary, test=candidate.summary, chosen=True),
        ),
    )
    return parse_page(path.read_text(encoding="utf-8")), verdict


def test_the_report_holds_every_part(whole) -> None:
    page, _ = whole
    assert page.alone()
    for heading in (
        "Rules", "Scores", "Regions and levels", "What vertebrae are called", "Against the model in use (version 3)",
        "Are the flags worth looking at?", "Post-processing, with and without", "The worst 10 cases", "Scans",
    ):  # fmt: skip
        assert f" {heading} " in page.text
    assert [name for name in (f"{n + 1}. bad_{n}" for n in range(10)) if name not in page.text] == []
    assert len(page.images()) == 10 + 4
    assert all(page.images())


def test_rules_are_told_with_threshold_interval_and_how_many_more_cases_would_decide(whole) -> None:
    page, verdict = whole
    undecided = [rule for rule in verdict.rules if rule.more_cases]
    assert undecided
    for rule in undecided:
        row = page.text[page.text.index(rule.name) :].split(rule.worst_cases[0])[0]
        assert f" {rule.more_cases} " in row and "can't tell" in row
        assert f" {rule.threshold:+.3f} ".replace("-", "−") in row
    for rule in verdict.rules:
        assert all(case in page.text for case in rule.worst_cases)


def test_secondary_tests_and_claims_are_told_beside_the_rules(whole) -> None:
    page, verdict = whole
    assert verdict.secondary and verdict.claims
    for test in verdict.secondary:
        assert test.name in page.text and test.said in page.text
    assert f"All {len(verdict.claims)} vertebrae compared" in page.text


def test_a_claim_is_made_in_words_and_unlikely_p_values_are_not_spelt_out(whole) -> None:
    _, verdict = whole
    first, second, *others = verdict.claims
    sure = first.model_copy(update={"claim": "worse", "p_value": 1e-9, "p_holm": 2e-9})
    better = second.model_copy(update={"claim": "better"})
    html = joined(claims_parts(verdict.model_copy(update={"claims": (sure, better, *others)}))).html
    assert f"The candidate is better in {NAMES[second.label]} and worse in {NAMES[first.label]}." in html
    assert "&lt; 0.001" in html and "▼ worse" in html and "▲ better" in html


def test_postprocessing_is_shown_with_and_without_and_what_was_chosen(whole) -> None:
    page, _ = whole
    assert "Chosen: decoding <b>." in page.text
    rows = page.text[page.text.index("Scores with each post-processing") :]
    assert rows.index("none") < rows.index("decoding <b>") < rows.index("✓ chosen")


@pytest.mark.slow
@pytest.mark.parametrize("scans", [0, 1, 2])
def test_hardly_any_scans_are_no_reason_to_fail(
    realistic: Realistic, report, comparison, parse_page, scans: int
) -> None:
    candidate, champion = (_only(each, slice(0, scans)) for each in realistic(scans=4))
    assert parse_page(report(candidate, champion)).alone()
    assert parse_page(comparison([candidate, champion])).alone()


@pytest.mark.slow
def test_voxel_counts_alone_are_enough_for_both_pages(
    realistic: Realistic, counted: Counted, report, comparison, parse_page
) -> None:
    candidate, champion = realistic(scans=40)
    for pair in ((counted(candidate), counted(champion)), (candidate, counted(champion)), (counted(candidate), None)):
        text = parse_page(report(*pair)).text
        assert f"{pair[0].summary.dice_scan_mean:.3f}" in text
        assert "None" not in text and "nan" not in text.lower().split()
    text = parse_page(report(counted(candidate))).text
    assert "At which level the scans were named is not known" in text and "Nothing was decoded" in text
    assert "Names are unknown" in parse_page(comparison([candidate, counted(champion)])).text


@pytest.mark.slow
def test_a_model_in_use_that_saw_other_scans_is_shown_without_pairs(
    realistic: Realistic, tmp_path: Path, comparison, parse_page
) -> None:
    candidate, champion = realistic(scans=20)
    first, second = _only(candidate, slice(0, 8)), _only(champion, slice(8, 20))
    verdict = judge(candidate=first, champion=None, policy=load_policy("demo"))
    path = tmp_path / "foreign.html"
    write_report(path=path, candidate=first, out_of_fold=None, champion=second, verdict=verdict, pictures=())
    assert "No scan was scored under both" in parse_page(path.read_text(encoding="utf-8")).text
    text = parse_page(comparison([first, second])).text
    assert "(0 in both, 12 only in model <1>, 8 only in model <0>): no paired difference can be told" in text


@pytest.mark.slow
def test_the_comparison_holds_every_model(realistic: Realistic, comparison, parse_page) -> None:
    candidate, champion = realistic()
    html = comparison([champion, candidate, champion])
    page = parse_page(html)
    assert page.alone() and "<0>" not in html
    assert "Comparison of model <0>, model <1> and model <2>" in page.text
    assert page.text.count("What vertebrae are called, model") == 3
    assert "model <1> minus model <0>" in page.text
    for evaluation in (candidate, champion):
        assert evaluation.digest in page.text and f"{evaluation.summary.dice_scan_mean:.3f}" in page.text


@pytest.mark.slow
def test_names_with_markup_and_formulas_are_shown_as_they_are(realistic: Realistic, comparison, report) -> None:
    candidate, champion = realistic(scans=12)
    nasty = [
        scan.model_copy(update={"case": f"<i>{scan.case} $\\frac{{$", "patient": "<i>"}) for scan in champion.scans
    ]
    renamed = Evaluation(name="<i>$x^", scans=tuple(nasty), summary=summarize(nasty))
    assert "<i>" not in comparison([renamed, candidate, renamed])
    assert "<i>" not in report(renamed, renamed)


@pytest.mark.slow
def test_both_pages_are_the_same_bytes_each_time(realistic: Realistic, comparison, report) -> None:
    candidate, champion = realistic(scans=12)
    assert report(candidate, champion) == report(candidate, champion)
    assert comparison([champion, candidate]) == comparison([champion, candidate])
