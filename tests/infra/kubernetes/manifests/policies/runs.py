"""What Argo and our profiles put on the pods of a run, which no manifest makes."""

from typing import Final

from pipelines.pod_settings import STEP_LABEL

ARGO_LABEL: Final = "workflows.argoproj.io/workflow"
_OURS = {"app.kubernetes.io/name": "spineline", "app.kubernetes.io/part-of": "spineline"}

DRIVER: Final = {ARGO_LABEL: "train-candidate-x7"}
TRAINING: Final = {ARGO_LABEL: "train-candidate-x7", STEP_LABEL: "train_folds", **_OURS}
RUN_PODS: Final = (DRIVER, TRAINING)
"""A driver's labels, and a training step's."""
