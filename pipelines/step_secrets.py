"""The Secrets of all profiles, by the steps that get them: MLflow's address, and the keys of object stores."""

from typing import Final, Literal

from pipelines.kubernetes_values import VolumeName
from pipelines.step_settings import Step
from spine.values import Value

Purpose = Literal["data", "checkpoints", "models", "models_read"]


class StoreSecrets(Value):
    """Secrets with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by what the keys may do."""

    data: VolumeName | None = None
    """Of `pull_dataset`: read the DVC remote."""
    checkpoints: VolumeName | None = None
    """Of `train_folds`: read and write the checkpoint store; with a ledger on S3, read it and the model store too."""
    models: VolumeName | None = None
    """Of `register_candidate` and `promote_model`: read and write the ledger and the model store."""
    models_read: VolumeName | None = None
    """Of `evaluate_folds` and `gate_candidate`, with a ledger on S3: read it and the model store."""


PURPOSE_OF: Final[dict[Step, Purpose | None]] = {
    "pull_dataset": "data",
    "plan_training": None,
    "train_folds": "checkpoints",
    "evaluate_folds": "models_read",
    "gate_candidate": "models_read",
    "register_candidate": "models",
    "promote_model": "models",
}
"""What each step needs keys of object stores for; None for a step that reads and writes the root alone."""
TRACKING_STEPS: Final[frozenset[Step]] = frozenset({"train_folds", "register_candidate", "promote_model"})
"""Steps that write to MLflow, or read from it."""
