"""The one settings object: the only place that reads the environment (prefix ``SPINELINE_``)."""

import getpass
import os
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from spine.errors import InvalidValueError

_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"}

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class Settings(BaseSettings):
    """Where state lives and which services are used; every field can be set as ``SPINELINE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="SPINELINE_", frozen=True, extra="ignore")

    root: Path = Field(default=Path(".spineline"), description="Folder of all local state.")
    tracking_uri: str | None = Field(default=None, description="MLflow's URI; SQLite below the root by default.")
    model_name: str = Field(default="vertebra-segmentation", description="Name of the registered model.")
    actor: str | None = Field(default=None, description="Who acts, for the ledger; the login name by default.")
    repository: str = Field(default=".", description="Git repository whose dvc.lock versions the data set.")
    remote: str | None = Field(default=None, description="DVC remote's URL; the repository's default otherwise.")
    s3_endpoint: str | None = Field(default=None, description="Endpoint of an S3 store other than AWS.")
    checkpoint_store: str | None = Field(
        default=None, description="Where checkpoints are copied to while training: s3://bucket/prefix."
    )
    checkpoint_minutes: float | None = Field(
        default=None, gt=0, description="Minutes between two checkpoints of a training; those of the recipe by default."
    )
    ledger: str | None = Field(
        default=None, description="Where the ledger lies: a folder or s3://bucket/prefix; below the root by default."
    )
    model_store: str | None = Field(
        default=None, description="Where the bundles of versions are kept: a folder or s3://bucket/prefix."
    )
    port: int = Field(default=8642, ge=1, le=65535, description="Port of the local server.")
    tokens: Path | None = Field(default=None, description="File of the tokens that the server accepts.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads for torch; all cores by default.")
    training_threads: int | None = Field(
        default=None, ge=1, description="CPU threads of one training step; those of torch by default."
    )
    devices: str | None = Field(
        default=None,
        description="Devices to train on: GPU numbers such as 0,1, or cpu,cpu; every GPU that is visible, else the CPU,"
        " by default.",
    )
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port on which a training step answers Prometheus."
    )
    keep_logits: bool = Field(
        default=False, description="Whether evaluation keeps what the network said of every case, for ensembles."
    )
    image: str | None = Field(default=None, description="Image that a step runs in, for the record.")
    code_revision: str | None = Field(
        default=None, description="Git commit that the image was built from; asked of git in a checkout."
    )
    progress_file: Path | None = Field(default=None, description="Where steps append progress events.")
    log_format: Literal["text", "json"] = Field(
        default="text", description="How logs are written: text, or one JSON object a line."
    )
    run: str | None = Field(
        default=None, description="Id of the pipeline's run that a program belongs to, for its logs."
    )

    @property
    def root_path(self) -> Path:
        """The root as an absolute path."""
        return self.root.expanduser().absolute()

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking and registry URI: ours, or the one that Kubeflow hands to a step."""
        return self.mlflow_uri_below(self.root_path)

    def mlflow_uri_below(self, root: Path) -> str:
        """Return the same of another root, which has a database of its own where no URI is set."""
        given = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        return given or f"sqlite:///{root / 'mlflow' / 'mlflow.db'}"

    @property
    def acting(self) -> str:
        """The name that events of the ledger carry."""
        return self.actor or getpass.getuser()

    @property
    def cpu_threads(self) -> int:
        """CPU threads that torch may use."""
        return self.threads or len(os.sched_getaffinity(0))


@cache
def settings() -> Settings:
    """Return the process's settings, read once; raises InvalidValueError naming the variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = f"SPINELINE_{first['loc'][0]}".upper()
        raise InvalidValueError(
            variable, first["input"], expected=first["msg"].removeprefix("Input should be ")
        ) from error


def opt_out_of_telemetry() -> None:
    """Keep libraries from reporting their use, unless the user has said otherwise."""
    for name, value in _NO_TELEMETRY.items():
        os.environ.setdefault(name, value)


def limit_mlflow_waits() -> None:
    """Let MLflow's library give up on a server within half a minute, unless the user has said otherwise."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)


def child_environment(**extra: str) -> dict[str, str]:
    """Return the environment for a child process: this one's, unbuffered, with ``extra`` set.

    Threads that wait for one another sleep instead of spinning: on a machine that does other work too, spinning
    made an epoch on two cores up to eight times slower. MLflow gives up on a server within half a minute: what it
    did not take is told again later.
    """
    defaults = {"OMP_WAIT_POLICY": "PASSIVE", **_PATIENCE, **_NO_TELEMETRY, **os.environ}
    return {**defaults, "PYTHONUNBUFFERED": "1", **extra}


def rank_among_peers() -> tuple[int, int]:
    """Return this process's rank on this machine and how many train with it, by torch's own variables."""
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
