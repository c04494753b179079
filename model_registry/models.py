"""A version's bundle as a model in memory, and its golden case."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from model_registry.bundle import GOLDEN_IMAGE, GOLDEN_LABELS, MODEL_FOLDER, Bundle
from model_registry.errors import GoldenCaseError
from spine.metrics.overlap import joint_counts, mean_dice
from spine.postprocessing.choice import NOTHING, Postprocessing
from spine.recipe import Recipe
from spine.records import POSTPROCESSING_FILE
from spine.volume.nifti import read_image, read_labels, require_one_grid

if TYPE_CHECKING:
    import torch

    from spine.nnunet.segmentation import Segmenter

GOLDEN_DICE = 0.99


def load_segmenter(
    bundle: Bundle, *, device: "torch.device", threads: int, turn: AbstractContextManager[None] | None = None
) -> "Segmenter":
    """Load a bundle's folds as one ensemble; every checkpoint is verified before it is read.

    ``turn`` is entered around each batch of windows, so that several segmenters can take turns.
    """
    from spine.nnunet.segmentation import Segmenter
    from spine.nnunet.workspace import Workspace

    Workspace.below(bundle.folder).activate()
    recipe = Recipe.parse(bundle.json("recipe.json"), where=bundle.folder / "recipe.json")
    return Segmenter.from_model_folder(
        bundle.folder / MODEL_FOLDER,
        digests=bundle.manifest.folds,
        configuration=bundle.manifest.configuration,
        recipe=recipe.prediction,
        postprocessing=postprocessing_of(bundle),
        device=device,
        threads=threads,
        turn=turn,
    )


def postprocessing_of(bundle: Bundle) -> Postprocessing:
    """Return what is done to every mask of a version; nothing where its bundle doesn't say."""
    file = bundle.folder / POSTPROCESSING_FILE
    return Postprocessing.parse(bundle.json(file.name), where=file) if file.is_file() else NOTHING


def spacing_mm(bundle: Bundle) -> tuple[float, float, float]:
    """Return the spacing that a bundle's network sees, along left-right, anterior-posterior, superior-inferior."""
    plans = bundle.json(f"{MODEL_FOLDER}/plans.json")
    superior, anterior, right = plans["configurations"][bundle.manifest.configuration]["spacing"]
    return (float(right), float(anterior), float(superior))


def check_golden_case(segmenter: "Segmenter", bundle: Bundle, *, version: int) -> float:
    """Return the golden case's mean Dice to its recorded answer; raises GoldenCaseError below 0.99."""
    answer = segmenter.segment(read_image(bundle.folder / GOLDEN_IMAGE))
    recorded = read_labels(bundle.folder / GOLDEN_LABELS)
    require_one_grid(recorded, answer, names=("golden case", "its answer"))
    mean = mean_dice(joint_counts(reference=recorded.array, prediction=answer.array))
    # A recorded answer without any vertebra is matched by another such answer only.
    dice = float(not answer.array.any()) if mean is None else mean
    if dice < GOLDEN_DICE:
        raise GoldenCaseError(version, dice=dice, expected=GOLDEN_DICE)
    return dice
