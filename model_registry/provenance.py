"""Where a version comes from beside its records: code, images and runs, kept in its bundle as ``lineage.json``."""

from pydantic import Field

from model_registry.bundle import Bundle
from spine.labels import VERTEBRAE, region_of
from spine.values import StoredValue, Value

PROVENANCE_FILE, LABELS_FILE = "lineage.json", "labels.json"
UNKNOWN = "unknown"


class Provenance(StoredValue):
    """What a bundle says of where it comes from; one of an older release says less."""

    code_revision: str = UNKNOWN
    """Git commit of the code that trained it."""
    images: dict[str, str] = Field(default_factory=dict)
    """Image by step; a step that ran in none is left out."""
    git_revision: str
    """Git commit that versions the data set."""
    dvc_hash: str
    """DVC's hash of the data set."""
    run: str | None = None
    """MLflow's run of the candidate."""
    fold_runs: dict[int, str] = Field(default_factory=dict)


class NamedLabel(Value):
    """What a label id of the masks means."""

    label: int
    name: str
    snomed: str
    region: str


def provenance_of(bundle: Bundle) -> Provenance:
    """Return where a bundle comes from; of one without the file, what its manifest knows."""
    file = bundle.folder / PROVENANCE_FILE
    if file.is_file():
        return Provenance.from_stored(bundle.json(PROVENANCE_FILE), where=file)
    return Provenance(git_revision=bundle.manifest.git_revision, dvc_hash=bundle.manifest.dvc_hash)


def label_map() -> list[dict[str, object]]:
    """Return what the ids of every mask mean, as JSON."""
    labels = (
        NamedLabel(label=each.id, name=each.name, snomed=each.snomed, region=region_of(each.id)) for each in VERTEBRAE
    )
    return [label.model_dump(mode="json") for label in labels]
