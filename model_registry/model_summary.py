"""The network of a version in words: its architecture, patch, voxels and post-processing, read from its bundle."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from model_registry.bundle import MODEL_FOLDER, Bundle
from model_registry.training_distribution import training_distribution_of
from spine.labels import NAMES
from spine.postprocessing.choice import Postprocessing
from spine.records import POSTPROCESSING_FILE
from spine.storage import read_json

UNKNOWN: Final = "unknown"
PLANS_FILE: Final = f"{MODEL_FOLDER}/plans.json"
_RECIPE: Final = "recipe.json"


def network_facts(bundle: Bundle) -> dict[str, str]:
    """Return by its name what is known of a version's network; what the bundle doesn't hold is said to be unknown.

    Axes are left-right, anterior-posterior, superior-inferior.
    """
    plans = _read(bundle, PLANS_FILE)
    configuration = plans.get("configurations", {}).get(bundle.manifest.configuration, {})
    order = plans.get("transpose_forward", (0, 1, 2))
    known = training_distribution_of(bundle)
    return {
        "architecture": _architecture(configuration.get("architecture", {})),
        "patch (voxels)": _by_axis(configuration.get("patch_size"), order),
        "voxels of the network (mm)": _by_axis(configuration.get("spacing"), order),
        "post-processing": _postprocessing(bundle),
        "trained on voxels (mm)": f"{_triple(known.least_spacing_mm)} to {_triple(known.largest_spacing_mm)}"
        if known
        else UNKNOWN,
        "HU of bone in training": f"{known.bone_hu[0]:.0f} to {known.bone_hu[2]:.0f}, median "
        f"{known.bone_hu[1]:.0f} (percentiles 0.5 and 99.5)"
        if known
        else UNKNOWN,
    }


def about_recipe(bundle: Bundle) -> str:
    """Return the recipe's name and what it says of itself."""
    about = _read(bundle, _RECIPE).get("about")
    return f"{bundle.manifest.recipe_name}: {about}" if about else bundle.manifest.recipe_name


def _architecture(found: dict[str, Any]) -> str:
    name = str(found.get("network_class_name", "")).rpartition(".")[2]
    features = found.get("arch_kwargs", {}).get("features_per_stage", ())
    if not name or not features:
        return UNKNOWN
    return f"{name}, {len(features)} stages of {_listed(features)} features"


def _by_axis(values: Sequence[float] | None, order: Sequence[int]) -> str:
    """Write one value an axis; nnU-Net's run superior-inferior first and are transposed by ``order``."""
    if not values or sorted(order) != [0, 1, 2] or len(values) != len(order):
        return UNKNOWN
    placed = dict(zip(order, values, strict=True))
    return _triple((placed[2], placed[1], placed[0]))


def _postprocessing(bundle: Bundle) -> str:
    file = bundle.folder / POSTPROCESSING_FILE
    if not file.is_file():
        return UNKNOWN
    chosen = Postprocessing.parse(bundle.json(POSTPROCESSING_FILE), where=file)
    done = []
    if chosen.decoding and chosen.decoding.rename:
        done.append("names decoded along the spine")
    if chosen.keep_largest:
        done.append(f"only the largest component kept of {_listed(NAMES[label] for label in chosen.keep_largest)}")
    return ", then ".join(done) or "none"


def _read(bundle: Bundle, name: str) -> dict[str, Any]:
    file = bundle.folder / name
    found: dict[str, Any] = read_json(file, expected="a file of a version's bundle") if file.is_file() else {}
    return found


def _triple(values: Sequence[float]) -> str:
    return " × ".join(f"{value:.3g}" for value in values)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
