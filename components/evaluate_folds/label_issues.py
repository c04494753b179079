"""The suspects of a candidate, with pictures: written beside its evaluation for whoever keeps the data."""

from collections.abc import Sequence
from pathlib import Path

from spine.dataset import Case, image_path, labels_path
from spine.drawing.markup import Markup, joined, section, tag
from spine.drawing.style import CSS
from spine.metrics.label_issues import LIST_FILE, PAGE_FILE, SUSPECTS_FOLDER, Suspect, SuspectList, suspect
from spine.metrics.overlap import joint_counts
from spine.storage import atomic_file, atomic_folder, write_json, write_text
from spine.volume.nifti import read_image, read_labels

_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
_HOW = (
    "Reference and out-of-fold prediction name whole vertebrae differently. One of the two is wrong: count from an end "
    "that is sure (C1, the last rib, the sacrum). In the difference, L3→L2 means: is L3 in the reference, was named L2."
)


def write_suspects(evaluation: Path, *, name: str, dataset: Path, predictions: Path, cases: Sequence[Case]) -> None:
    """Compare references and predictions of ``cases`` and write list, page and pictures, whole or not at all."""
    found = [judged for case in cases if (judged := _judge(dataset, predictions, case))]
    found.sort(key=lambda judged: (-judged.misnamed, judged.case))
    by_name = {case.case: case for case in cases}
    with atomic_folder(evaluation / SUSPECTS_FOLDER) as folder:
        for judged in found:
            _draw(folder / "pictures", dataset, predictions, by_name[judged.case])
        listed = SuspectList(name=name, cases=len(cases), suspects=tuple(found))
        write_json(folder / LIST_FILE, {name: part for name, part in listed.content.items() if name != "page"})
        write_text(folder / PAGE_FILE, _page(listed))


def _judge(dataset: Path, predictions: Path, case: Case) -> Suspect | None:
    prediction = predictions / f"{case.case}.nii.gz"
    if not prediction.is_file():
        return None
    reference = read_labels(labels_path(dataset, case))
    counts = joint_counts(reference=reference.array, prediction=read_labels(prediction).array)
    return suspect(case=case.case, patient=case.patient, counts=counts, voxel_mm3=reference.grid.voxel_mm3)


def _draw(folder: Path, dataset: Path, predictions: Path, case: Case) -> None:
    from spine.drawing.overlays import draw_case
    from spine.drawing.planes import cut

    planes = cut(
        image=read_image(image_path(dataset, case)),
        reference=read_labels(labels_path(dataset, case)),
        prediction=read_labels(predictions / f"{case.case}.nii.gz"),
    )
    with atomic_file(folder / f"{case.case}.png") as partial:
        partial.write_bytes(draw_case(case=case.case, planes=planes))


def _page(listed: SuspectList) -> str:
    title = f"Suspects of {listed.name}"
    head = tag("head", Markup(_META), tag("title", title), Markup(f"<style>{CSS}</style>"))
    message = f"{len(listed.suspects)} of {listed.cases} cases. {_HOW}" if listed.suspects else "No suspects."
    figures = [_figure(judged) for judged in listed.suspects]
    body = tag("body", tag("main", tag("h1", title), tag("p", message), section("Cases", *figures)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en').html}\n"


def _figure(judged: Suspect) -> Markup:
    shift = f", all by {judged.shift:+d}" if judged.shift is not None and judged.misnamed > 1 else ""
    message = f" (patient {judged.patient}): {judged.misnamed} of {judged.vertebrae} vertebrae{shift}: {judged.message}"
    picture = tag("img", alt=f"{judged.case}{message}", src=f"pictures/{judged.case}.png", loading="lazy")
    return tag("figure", picture, tag("figcaption", joined((tag("strong", judged.case), message))))
