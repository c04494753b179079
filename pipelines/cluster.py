"""Submit a compiled pipeline to Kubeflow Pipelines."""

import tempfile
from pathlib import Path
from typing import Any

from pipelines.profile import Profile
from spine.errors import InvalidValueError, SpinelineError


class ClusterError(SpinelineError):
    """Kubeflow Pipelines can't be reached, or refuses what it is sent."""


def submit(*, pipeline: str, profile: Profile, folds: list[int], arguments: dict[str, Any], host: str | None) -> str:
    """Compile ``pipeline`` for ``profile``, submit a run of it and return the run's id."""
    if profile.kubernetes is None:
        raise InvalidValueError("profile", profile.name, expected="one with a kubernetes section")
    import kfp
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    from pipelines.compiling import compile_all

    with tempfile.TemporaryDirectory() as scratch:
        files = {file.stem: file for file in compile_all(profile=profile, folds=folds, output=Path(scratch))}
        try:
            client = kfp.Client(host=host)
            run = client.create_run_from_pipeline_package(
                str(files[pipeline]), arguments=arguments, enable_caching=False, experiment_name="spineline"
            )
        except (ApiException, HTTPError, OSError, ValueError) as error:
            reason = (str(error).splitlines() or ["no answer"])[0]
            place = host or "the address in kfp's own configuration"
            raise ClusterError(f"Kubeflow Pipelines at {place}: {reason}; expected --host URL that answers") from error
    return str(run.run_id)
