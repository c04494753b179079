"""MLflow's runs and its registered model at one URI, by one connection."""

from model_registry.mlflow_models import MlflowModels
from model_registry.mlflow_runs import MlflowRuns


class MlflowStore(MlflowRuns, MlflowModels):
    """MLflow at one URI: SQLite or PostgreSQL directly, or a tracking server."""
