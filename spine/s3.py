"""S3 as everything here talks to it: how a client is opened, and how a URL names a place."""

from typing import Any

from spine.errors import InvalidValueError

IMPATIENT: dict[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": 20,
    "retries": {"mode": "standard", "max_attempts": 2},
}
"""Limits for work that can go on, or be told, where a store is away."""


def split_url(url: str, *, what: str) -> tuple[str, str]:
    """Return the bucket and the prefix, without slashes at its ends, of ``s3://bucket/prefix``."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise InvalidValueError(what, url, expected="s3://bucket or s3://bucket/prefix")
    return bucket, prefix.strip("/")


def open_client(endpoint: str | None, **limits: Any) -> Any:
    """Open a client; ``limits`` are those of botocore's Config, and credentials come from boto3's own chain.

    Raises InvalidValueError where the endpoint is no URL, and BotoCoreError for half a key or an unknown profile.
    Checksums that S3 alone computes are asked for by default, and other stores refuse or miscount them; what is kept
    here is checked by its own digest anyway.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **{"retries": {"mode": "standard"}, **limits},
    )
    try:
        return boto3.client("s3", endpoint_url=endpoint, config=config)
    except ValueError as error:
        raise InvalidValueError("S3 endpoint", endpoint, expected="a URL such as http://host:9000") from error


def code_of(error: Any) -> str:
    """Return the code of a ClientError, such as ``NoSuchKey``, or its HTTP status where the store gives none."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))
