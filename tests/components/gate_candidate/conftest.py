"""Evaluations drawn from a seed that look like real ones, with faults, margins and flags; pages taken apart."""

from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import numpy as np
import pytest

from spine.metrics.scores import Evaluation, FoundVertebra, LabelScore, ScanScores
from spine.metrics.summary import summarize

Realistic = Callable[..., tuple[Evaluation, Evaluation]]
_FULL_VOXELS = 9000
_VOID = {"meta", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """Checks that tags balance, and gathers text, attributes and tags."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "

    def alone(self) -> bool:
        """Whether the page refers to nothing outside itself and runs nothing."""
        urls = [given[name] or "" for _, given in self.tags for name in ("src", "href") if name in given]
        return all(url.startswith("data:image/png;base64,") for url in urls) and not (
            {tag for tag, _ in self.tags} & {"script", "link", "iframe", "object"}
        )

    def images(self) -> list[str]:
        """What the pictures are said to show."""
        return [given["alt"] or "" for tag, given in self.tags if tag == "img"]


@pytest.fixture(scope="session")
def parse_page() -> Callable[[str], Page]:
    """A function of HTML that gives its parts."""
    return Page


@pytest.fixture(scope="session")
def realistic() -> Realistic:
    """A function of scans and a seed that gives a candidate and the model in use, scored on the same scans."""

    def build(*, scans: int = 60, seed: int = 1) -> tuple[Evaluation, Evaluation]:
        views = list(_views(scans, np.random.default_rng(seed)))
        candidate = _model("recipe spine-tall, locked test set", views, np.random.default_rng(seed + 1), faults=0.12)
        champion = _model("version 3", views, np.random.default_rng(seed + 2), faults=0.24, worse=0.012)
        return candidate, champion

    return build


@pytest.fixture(scope="session")
def counted() -> Callable[[Evaluation], Evaluation]:
    """A function that leaves of an evaluation what nnU-Net's summary.json knows: voxel counts and Dice."""

    def strip(evaluation: Evaluation) -> Evaluation:
        scans = [
            scan.model_copy(
                update={
                    "patient": None, "all_correct": None, "level_shift": None, "bone_dice": None, "missing": None,
                    "vertebrae": (),
                    "labels": tuple(
                        LabelScore(
                            label=score.label, reference_voxels=score.reference_voxels,
                            predicted_voxels=score.predicted_voxels, common_voxels=score.common_voxels,
                            dice=score.dice, at_border=None, identified=None, localisation_mm=None,
                        )
                        for score in scan.labels
                    ),
                }
            )
            for scan in evaluation.scans
        ]  # fmt: skip
        return Evaluation(name="nnU-Net's summary", scans=tuple(scans), summary=summarize(scans))

    return strip


def _views(scans: int, rng: np.random.Generator) -> Iterator[tuple[str, str, range]]:
    for number in range(scans):
        first = int(rng.choice([1, 5, 10, 14, 17, 18, 20], p=[0.08, 0.08, 0.16, 0.2, 0.2, 0.18, 0.1]))
        last = min(first + int(rng.integers(4, 14)), 25)
        # Every seventh patient was scanned twice.
        patient = number - 1 if number % 7 == 6 else number
        yield f"case_{number * 3:04d}", f"p{patient:03d}", range(first, last + 1)


def _model(
    name: str, views: list[tuple[str, str, range]], rng: np.random.Generator, *, faults: float, worse: float = 0.0
) -> Evaluation:
    scans = [_scan(case, patient, shown, rng, faults, worse) for case, patient, shown in views]
    return Evaluation(name=name, scans=tuple(scans), summary=summarize(scans))


def _scan(case: str, patient: str, shown: range, rng: np.random.Generator, faults: float, worse: float) -> ScanScores:
    called, shift = _names(shown, rng, faults)
    missing = bool(rng.random() < 0.1 * faults)
    quality = float(np.clip(rng.beta(60, 4) - worse, 0.3, 0.99))
    bone = {label: (called[label], _dice(label, shown, quality, rng)) for label in shown}
    if missing:
        bone = dict.fromkeys(shown, (0, 0.0))
    predicted = {name: label for label, (name, _) in bone.items() if name}
    scores = [_score(label, shown, bone, predicted, rng) for label in sorted({*shown, *predicted})]
    vertebrae = [_vertebra(name, label, shown, rng) for label, (name, _) in bone.items() if name]
    if vertebrae and rng.random() < 0.05:
        vertebrae.append(_vertebra(vertebrae[-1].label, 0, shown, rng))
    inside = [score for score in scores if score.reference_voxels]
    return ScanScores(
        case=case, patient=patient, labels=tuple(scores),
        mean_dice=float(np.mean([score.dice for score in inside])),
        bone_dice=float(np.mean([dice for _, dice in bone.values()])),
        all_correct=all(score.identified for score in inside) and len(scores) == len(inside),
        level_shift=None if missing else shift,
        false_positive_labels=len(scores) - len(inside),
        false_positive_mm3=sum(score.predicted_voxels * 3.4 for score in scores if not score.reference_voxels),
        missing=missing, vertebrae=tuple(vertebrae),
    )  # fmt: skip


def _names(shown: range, rng: np.random.Generator, faults: float) -> tuple[dict[int, int], int]:
    """Name each vertebra: rightly, all a level off, a block a level off, or one not found; and the scan's shift."""
    called = {label: label for label in shown}
    drawn, step = rng.random(), int(rng.choice([-1, 1]))
    if drawn < 0.35 * faults:
        return {label: label + step if 0 < label + step < 26 else 0 for label in shown}, step
    if drawn < 0.7 * faults:
        start = int(rng.integers(shown.start, shown.stop))
        block = [label for label in shown if start <= label < start + 3]
        called.update({label: label + step if 0 < label + step < 26 else 0 for label in block})
    elif drawn < faults:
        called[int(rng.choice(list(shown)))] = 0
    return called, 0


def _dice(label: int, shown: range, quality: float, rng: np.random.Generator) -> float:
    hard = 0.06 if 12 <= label <= 16 else 0.0
    cut = 0.25 * rng.random() if label in (shown[0], shown[-1]) else 0.0
    drawn = float(np.clip(quality - hard - cut + rng.normal(0, 0.015), 0.05, 0.99))
    # A gate checks that Dice is what the voxels say.
    return round(_FULL_VOXELS * drawn) / _FULL_VOXELS


def _score(
    label: int, shown: range, bone: dict[int, tuple[int, float]], predicted: dict[int, int], rng: np.random.Generator
) -> LabelScore:
    in_reference = label in shown
    called, overlap = bone.get(label, (0, 0.0))
    covers = predicted.get(label)
    right = in_reference and called == label and covers == label
    dice = (overlap if right else 0.0) if in_reference else None
    return LabelScore(
        label=label,
        reference_voxels=_FULL_VOXELS if in_reference else 0,
        predicted_voxels=_FULL_VOXELS if covers is not None else 0,
        common_voxels=round(_FULL_VOXELS * (dice or 0)),
        dice=dice,
        at_border=label in (shown[0], shown[-1]) if in_reference else None,
        identified=right if in_reference else None,
        localisation_mm=round(float(rng.gamma(2.0, 0.7)), 3) if right else None,
        called=called if in_reference else None,
        covers=covers,
        nsd_1_5mm=(min(overlap + 0.01, 1.0) if right else 0.0) if in_reference else None,
        nsd_3mm=(min(overlap + 0.05, 1.0) if right else 0.0) if in_reference else None,
        hd95_mm=round(float(2 + 30 * (1 - overlap) if right else 38.0), 3) if in_reference and covers else None,
    )


def _vertebra(name: int, covers: int, shown: range, rng: np.random.Generator) -> FoundVertebra:
    unsure = covers != name or rng.random() < 0.06
    margin = round(float(rng.gamma(2.0, 1.2 if unsure else 5.0)), 3)
    flags = _flags(margin, covers in (shown[0], shown[-1]), unsure, rng)
    was = name - 1 if "renamed" in flags and name > 1 else name
    return FoundVertebra(label=name, was=was, covers=covers, voxels=_FULL_VOXELS, margin=margin, flags=flags)


def _flags(margin: float, at_border: bool, unsure: bool, rng: np.random.Generator) -> tuple[str, ...]:
    drawn = {
        "low margin": margin < 2,
        "cut at the border": at_border,
        "renamed": unsure and rng.random() < 0.4,
        "skipped level": unsure and rng.random() < 0.3,
    }
    return tuple(flag for flag, told in drawn.items() if told)
