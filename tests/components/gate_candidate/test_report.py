"""The report on a verdict: what it must say, and that it stands alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.gate_candidate.report import CasePicture, write_report
from components.gate_candidate.report.rulings import rules_table
from model_registry.gate import judge
from model_registry.policy import load_policy
from spine.metrics.postprocessing_variants import Alternative
from spine.metrics.scores import Evaluation, LabelScore, ScanScores
from spine.metrics.summary import summarize

_LUMBAR = range(20, 26)
Written = Callable[..., Any]


def _scan(case: str, *, dice: float, missing: bool = False, shift: int | None = 0) -> ScanScores:
    labels = tuple(
        LabelScore(
            label=label, reference_voxels=1000, predicted_voxels=0 if missing else 1000,
            common_voxels=int(1000 * dice), dice=dice, at_border=label == 20, identified=dice > 0.5,
            localisation_mm=1.25 if dice > 0.5 else None,
        )
        for label in _LUMBAR
    )  # fmt: skip
    return ScanScores(
        case=case, patient=f"p-{case}", labels=labels, mean_dice=dice, bone_dice=0.0 if missing else 0.9,
        all_correct=dice > 0.5, level_shift=None if missing else shift, false_positive_labels=0,
        false_positive_mm3=0.0, missing=missing,
    )  # fmt: skip


def _evaluation(name: str, scans: list[ScanScores]) -> Evaluation:
    return Evaluation(name=name, scans=tuple(scans), summary=summarize(scans))


def _good(*, scans: int = 9, better: float = 0.0) -> Evaluation:
    made = [_scan(f"case_{index:04d}", dice=0.9 + 0.005 * index + better) for index in range(scans)]
    return _evaluation("recipe x, locked test set", made)


@pytest.fixture
def written(tmp_path: Path, parse_page) -> Written:
    """A function that judges, writes the report and returns its HTML, its parts and the verdict."""

    def write(
        candidate: Evaluation,
        champion: Evaluation | None = None,
        pictures: tuple[CasePicture, ...] = (),
        alternatives: tuple[Alternative, ...] = (),
        name: str = "report.html",
    ):
        verdict = judge(candidate=candidate, champion=champion, policy=load_policy("demo"))
        path = tmp_path / name
        write_report(
            path=path, candidate=candidate, out_of_fold=None, champion=champion, verdict=verdict, pictures=pictures,
            alternatives=alternatives,
        )  # fmt: skip
        html = path.read_text(encoding="utf-8")
        return html, parse_page(html), verdict

    return write


@pytest.mark.parametrize(
    ("candidate", "outcome", "word"),
    [
        (_good(), "pass", "PASS"),
        (_good(scans=4), "inconclusive", "INCONCLUSIVE"),
        (_evaluation("bad", [_scan(f"c{index}", dice=0.2) for index in range(9)]), "fail", "FAIL"),
    ],
)
def test_the_outcome_comes_first_as_a_word_and_a_sign(
    written: Written, candidate: Evaluation, outcome: str, word: str
) -> None:
    _, page, verdict = written(candidate)
    assert verdict.outcome == outcome
    sign = {"pass": "✓", "fail": "✗", "inconclusive": "?"}[outcome]
    assert re.search(rf"{re.escape(sign)}\s+{word}\b", page.text)
    assert page.text.index(f" {word} ") < page.text.index("Rules")


def test_every_rule_headline_and_digest_is_told(written: Written) -> None:
    candidate, champion = _good(better=0.01), _good()
    html, page, verdict = written(candidate, champion)
    for rule in verdict.rules:
        assert rule.name in page.text
        assert rule.expected in page.text
    assert f"{candidate.summary.dice_scan_mean:.3f}" in page.text
    assert "1.25" in page.text
    assert "+0.010 to +0.010" in page.text
    for digest in (verdict.evaluation, verdict.policy, verdict.champion):
        assert digest and digest in html
    assert "not for clinical use" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 3


def test_regions_without_a_case_are_named(written: Written) -> None:
    _, page, _ = written(_good())
    assert "Nothing can be said about C1-C4, C5-C7, T1-T4, T5-T9 or T10-T12:" in page.text


def test_wrong_levels_and_missing_predictions_are_named(written: Written) -> None:
    scans = [*_good().scans, _scan("shifted", dice=0.0, shift=-1), _scan("lost", dice=0.0, missing=True)]
    _, page, _ = written(_evaluation("mixed", scans), _evaluation("old", scans))
    assert "Named at a wrong level: shifted. Without a prediction: lost." in page.text
    assert "−1" in page.text


def test_scans_at_the_right_level_are_named_where_single_vertebrae_have_wrong_names(written: Written) -> None:
    scan = _scan("transitional", dice=0.8)
    first, *others = scan.labels
    odd = scan.model_copy(update={"labels": (first.model_copy(update={"called": 25}), *others)})
    _, page, _ = written(_evaluation("odd", [*_good().scans, odd]))
    assert "with wrong names: transitional (L1 called S1)." in page.text


def test_every_rule_shows_a_threshold(written: Written) -> None:
    _, _, verdict = written(_good(better=0.01), _good())
    bare = verdict.model_copy(update={"rules": (verdict.rules[0].model_copy(update={"threshold": None}),)})
    assert rules_table(bare).html.count(verdict.rules[0].expected) == 2


def test_names_that_are_not_predicted_and_bone_that_is_not_found_are_not_called_the_same(written: Written) -> None:
    _, page, _ = written(_good(), _good())
    assert " Names not predicted " in page.text and " Name not predicted " in page.text
    assert "not found" not in page.text.lower()


def test_predictions_that_may_be_missing_are_not_said_to_be_there(written: Written) -> None:
    unknown = [scan.model_copy(update={"missing": None}) for scan in _good().scans]
    html, page, _ = written(_evaluation("nnU-Net", unknown))
    assert "Whether every scan has a prediction is not known." in page.text
    row = html[html.index("Scans without a prediction; each scores 0.") :].split("</tr>")[0]
    assert '<td class="number">–</td>' in row


def test_scans_are_listed_from_the_worst_to_the_best(written: Written) -> None:
    html, _, _ = written(_evaluation("two", [_scan("best", dice=0.9), _scan("worst", dice=0.1)]))
    rows = html[html.index("Scans by mean Dice") :]
    assert rows.index("worst") < rows.index(">best<")


def test_strings_are_escaped(written: Written) -> None:
    nasty = '<b>"case" & $\\frac{$</b>'
    scans = [_scan(nasty, dice=0.3), *_good().scans]
    picture = CasePicture(case=nasty, caption='<script>alert("x")</script>', png=b"\x89PNG")
    html, page, _ = written(_evaluation(nasty, scans), _evaluation("<i>", _raised(scans)), (picture,))
    assert "<b>" not in html
    assert "<script" not in html
    assert nasty in page.text
    assert {tag for tag, _ in page.tags}.isdisjoint({"b", "i", "script"})


def _raised(scans: list[ScanScores]) -> list[ScanScores]:
    return [_scan(scan.case, dice=min((scan.mean_dice or 0) + 0.2, 1)) for scan in scans]


def test_the_page_stands_alone_and_is_accessible(written: Written) -> None:
    picture = CasePicture(case="c", caption="d", png=b"\x89PNG")
    html, page, _ = written(_good(), _good(), (picture,))
    assert ("html", {"lang": "en"}) in page.tags
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", html)
    assert "url(" not in html and "@import" not in html
    for tag, given in page.tags:
        assert tag not in {"script", "link", "iframe"}
        if tag == "img":
            assert (given["src"] or "").startswith("data:image/png;base64,")
            assert given["alt"]
        if tag == "th":
            assert given["scope"] in {"col", "row"}
    assert len(html) < 3_000_000


def test_the_same_inputs_give_the_same_bytes(written: Written) -> None:
    first, _, _ = written(_good(), _good())
    second, _, _ = written(_good(), _good())
    assert first == second


def test_scans_without_labels_are_reported_without_scores(written: Written) -> None:
    empty = ScanScores(
        case="empty", patient=None, labels=(), mean_dice=None, bone_dice=None, all_correct=None, level_shift=None,
        false_positive_labels=0, false_positive_mm3=0.0, missing=False,
    )  # fmt: skip
    _, page, _ = written(_evaluation("nothing", [empty]))
    assert "reference without labels" in page.text
