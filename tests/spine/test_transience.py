"""Errors that another attempt can overcome, told apart by what the real libraries raise."""

import errno
import socket
from pathlib import Path

import pytest

from spine.errors import InvalidValueError, SpinelineError
from spine.transience import is_transient


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def raised(call) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def s3_error() -> BaseException:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{closed_port()}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"max_attempts": 1}, connect_timeout=1),
    )
    return raised(client.list_buckets)


def mlflow_error() -> BaseException:
    from model_registry.mlflow_store import MlflowStore

    store = MlflowStore(f"http://127.0.0.1:{closed_port()}", artifacts=Path("artifacts"), model_name="m")
    return raised(store.check)


def wrapped() -> BaseException:
    def call():
        try:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        except OSError as error:
            raise SpinelineError("a step's own words") from error

    return raised(call)


@pytest.mark.parametrize(
    "error",
    [
        s3_error,
        mlflow_error,
        wrapped,
        lambda: OSError(errno.ESTALE, "Stale file handle", "/spineline/data"),
        lambda: OSError(errno.EIO, "Input/output error"),
        lambda: TimeoutError("timed out"),
    ],
    ids=["closed S3 port", "closed MLflow port", "wrapped", "stale NFS handle", "I/O error", "timeout"],
)
def test_an_unreachable_service_or_volume_is_transient(error):
    assert is_transient(error())


@pytest.mark.parametrize(
    "error",
    [
        InvalidValueError("--folds", 9, expected="0 to 4"),
        ModuleNotFoundError("No module named 'numba'"),
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
        KeyError("plan"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_fails_in_the_same_way_again_is_not_transient(error):
    assert not is_transient(error)


def test_an_error_that_hides_its_context_is_judged_alone():
    def call():
        try:
            raise ConnectionError("away")
        except ConnectionError:
            raise InvalidValueError("policy", "x", expected="a name") from None

    assert not is_transient(raised(call))
