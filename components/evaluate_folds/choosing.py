"""Post-processing chosen on the folds, never on the test set, and what every way scores with and without."""

from collections.abc import Callable
from pathlib import Path

from components.evaluate_folds.assessment import Masks, count_components, evaluate_ways
from spine.metrics.postprocessing_variants import Alternative
from spine.metrics.scores import Evaluation
from spine.postprocessing.choice import BOTH, COMPONENTS, DECODING, NONE, NOTHING, Postprocessing, choose
from spine.postprocessing.component_choice import choose_components
from spine.postprocessing.naming import DecodingSettings

_OnCase = Callable[[str, str], None]


def choose_postprocessing(
    masks: Masks, *, name: str, scores: Path, on_case: _OnCase
) -> tuple[str, dict[str, Postprocessing], dict[str, Evaluation]]:
    """Return the name of the way that is best on out-of-fold masks, all ways, and what each scores there."""
    decoding, watching = (Postprocessing(decoding=DecodingSettings(rename=rename)) for rename in (True, False))
    # Components are chosen on the masks that they are taken from: decoding may have renamed what was one too many.
    counts = count_components(
        masks, ways=(NOTHING, decoding), on_case=lambda case: on_case("choose post-processing", case)
    )
    ways = _ways(watching, decoding, *(choose_components(each).labels if each else () for each in counts))
    evaluations = evaluate_ways(
        masks,
        name=name,
        ways=ways,
        scores=scores,
        finished=None,
        on_case=lambda case: on_case("try post-processing", case),
    )
    return choose(evaluations), ways, evaluations


def alternatives(
    *, chosen: str, out_of_fold: dict[str, Evaluation], test: dict[str, Evaluation]
) -> tuple[Alternative, ...]:
    """Return what every way scores; of the test set only the chosen way and none are known."""
    return tuple(
        Alternative(
            name=name,
            out_of_fold=evaluation.summary,
            test=test[name].summary if name in test else None,
            chosen=name == chosen,
        )
        for name, evaluation in out_of_fold.items()
    )


def _ways(
    watching: Postprocessing, decoding: Postprocessing, largest: tuple[int, ...], decoded: tuple[int, ...]
) -> dict[str, Postprocessing]:
    """Return the ways to choose among, all of which flag names; one that keeps no label's component is left out."""
    ways = {
        NONE: watching,
        COMPONENTS: watching.model_copy(update={"keep_largest": largest}) if largest else None,
        DECODING: decoding,
        BOTH: decoding.model_copy(update={"keep_largest": decoded}) if decoded else None,
    }
    return {name: way for name, way in ways.items() if way}
