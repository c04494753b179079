"""What boto3 takes for the same objects by itself: no hashing, no flush to the disk, sixteen at once."""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

PARALLEL = 16
_BLOCK_BYTES = 1 << 20


def download_file(client: Any, bucket: str, key: str, target: Path) -> None:
    """Fetch as s3transfer does: HEAD, then GET to a temporary name, then the final one."""
    client.download_file(bucket, key, str(target))


def get_object(client: Any, bucket: str, key: str, target: Path) -> None:
    """Fetch with one GET, straight to the final name."""
    body = client.get_object(Bucket=bucket, Key=key)["Body"]
    with target.open("wb") as stream:
        while block := body.read(_BLOCK_BYTES):
            stream.write(block)


def main(argv: list[str] | None = None) -> int:
    """Fetch every object whose key a file lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["download_file", "get_object"])
    parser.add_argument("endpoint")
    parser.add_argument("bucket")
    parser.add_argument("keys", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args(argv)
    client = boto3.client("s3", endpoint_url=given.endpoint, config=Config(max_pool_connections=PARALLEL))
    fetch = {"download_file": download_file, "get_object": get_object}[given.way]
    keys = given.keys.read_text().split()
    given.target.mkdir(parents=True)
    with ThreadPoolExecutor(PARALLEL) as pool:
        for _ in pool.map(lambda key: fetch(client, given.bucket, key, given.target / key.replace("/", "-")), keys):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
