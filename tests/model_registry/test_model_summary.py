"""What is said of a version's network, and what of one whose bundle doesn't hold it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model_registry.bundle import Bundle
from model_registry.model_summary import about_recipe, network_facts
from spine.postprocessing.choice import Postprocessing
from spine.postprocessing.decoding import DecodingSettings
from spine.storage import write_json

PLANS = {
    "transpose_forward": [0, 1, 2],
    "configurations": {
        "3d_fullres": {
            "patch_size": [64, 32, 24],
            "spacing": [3.0, 2.0, 1.5],
            "architecture": {
                "network_class_name": "somewhere.unet.PlainConvUNet",
                "arch_kwargs": {"features_per_stage": [12, 24]},
            },
        }
    },
}


@pytest.fixture
def bundle(tmp_path: Path, write_evidence: Callable[..., Bundle]) -> Bundle:
    return write_evidence(tmp_path / "bundle")


def test_what_a_bundle_does_not_hold_is_unknown(bundle: Bundle) -> None:
    assert set(network_facts(bundle).values()) == {"unknown"}
    assert about_recipe(bundle) == "tiny"


def test_the_network_is_told_by_the_patients_axes(bundle: Bundle) -> None:
    write_json(bundle.folder / "model" / "plans.json", PLANS)
    write_json(bundle.folder / "recipe.json", {"about": "For tests."})
    facts = network_facts(bundle)
    assert facts["architecture"] == "PlainConvUNet, 2 stages of 12, 24 features"
    assert (facts["patch (voxels)"], facts["voxels of the network (mm)"]) == ("24 × 32 × 64", "1.5 × 2 × 3")
    assert about_recipe(bundle) == "tiny: For tests."
    write_json(bundle.folder / "model" / "plans.json", {**PLANS, "transpose_forward": [2, 0, 1]})
    assert network_facts(bundle)["patch (voxels)"] == "64 × 24 × 32"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (Postprocessing(), "none"),
        (Postprocessing(keep_largest=(24, 25)), "only the largest component kept of L5, S1"),
        (Postprocessing(decoding=DecodingSettings()), "names decoded along the spine"),
        (Postprocessing(decoding=DecodingSettings(rename=False)), "none"),
    ],
)
def test_post_processing_is_told_in_words(bundle: Bundle, chosen: Postprocessing, said: str) -> None:
    write_json(bundle.folder / "postprocessing.json", chosen.model_dump(mode="json"))
    assert network_facts(bundle)["post-processing"] == said
