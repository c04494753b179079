"""Object stores that a data set is pulled from: a folder or any S3 endpoint, behind one small interface."""

import shutil
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from spine.errors import InvalidValueError, MissingPathError, SpinelineError


class ObjectUnavailableError(SpinelineError):
    """An object of a store is missing, forbidden or can't be reached."""

    def __init__(self, place: str, *, reason: str) -> None:
        super().__init__(f"{place}: {reason}; expected an object that can be read")


class ObjectStore(Protocol):
    """A place that holds whole objects by key."""

    def fetch(self, key: str, target: Path) -> None:
        """Copy an object's content to ``target``; raises ObjectUnavailableError naming the object."""


class FolderStore:
    """Objects as files below a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise MissingPathError(folder, expected="the folder of a DVC remote (was the data set pushed?)")
        self._folder = folder

    def fetch(self, key: str, target: Path) -> None:
        """Copy the file of ``key``."""
        source = self._folder / key
        try:
            shutil.copyfile(source, target)
        except (FileNotFoundError, PermissionError) as error:
            raise ObjectUnavailableError(str(source), reason=(error.strerror or "unreadable").lower()) from error


class S3Store:
    """Objects below a prefix of an S3 bucket; credentials come from boto3's own chain."""

    def __init__(self, url: str, *, endpoint: str | None) -> None:
        import boto3

        parts = urlsplit(url)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._client: Any = boto3.client("s3", endpoint_url=endpoint)

    def fetch(self, key: str, target: Path) -> None:
        """Download the object of ``key``."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        name = f"{self._prefix}/{key}".lstrip("/")
        place = f"s3://{self._bucket}/{name}"
        try:
            self._client.download_file(self._bucket, name, str(target))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            raise ObjectUnavailableError(place, reason=f"the store answered {code}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise ObjectUnavailableError(place, reason=str(error)) from error


def open_store(url: str, *, endpoint: str | None = None, relative_to: Path) -> ObjectStore:
    """Open the store that a DVC remote's URL names: ``s3://bucket/prefix`` or a folder."""
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        return S3Store(url, endpoint=endpoint)
    if scheme in ("", "file"):
        # A plain path is no URL: it may hold '#' and '?'.
        return FolderStore((relative_to / (urlsplit(url).path if scheme else url)).resolve())
    raise InvalidValueError("remote", url, expected="a folder or s3://bucket/prefix")
