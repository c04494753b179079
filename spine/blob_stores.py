"""Opens a blob store by its URL or folder."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from spine.blob_store import BlobStore, FolderBlobStore
from spine.errors import InvalidValueError


def open_blob_store(place: str | Path, *, endpoint: str | None = None) -> BlobStore:
    """Open ``s3://bucket/prefix``, or a folder whose parent is there; nothing is asked of it before it is used."""
    url = str(place)
    if url.startswith("s3://"):
        # boto3 takes a second to import, which a folder does not need.
        from spine.s3_blob_store import S3BlobStore

        return S3BlobStore(url, endpoint=endpoint)
    if url.startswith("file://"):
        url = unquote(urlsplit(url).path)
    if "://" in url or not url.strip():
        raise InvalidValueError("place", url, expected="a folder or s3://bucket/prefix")
    folder = Path(url).expanduser().absolute()
    return FolderBlobStore(folder, anchor=folder.parent)
