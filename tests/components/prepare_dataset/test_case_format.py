"""What a fixed raw case comes to: where it changes, the store's FORMAT must be raised."""

import gzip
import json

import numpy as np

from components.prepare_dataset.case_store import FORMAT, CaseStore
from components.prepare_dataset.conversion import prepare_case
from components.prepare_dataset.layouts import find_cases
from spine.phantom import make_scan
from spine.phantom.raw_layouts import WRITERS
from spine.storage import digest_bytes

CONTENT_OF_FORMAT = {1: "sha256:b0a85a22a44c8106ef78f15152a30cb715a02b4a4936732fa70e83a6cd2d2bba"}


def test_a_fixed_case_is_prepared_as_its_format_says(tmp_path):
    scan = make_scan(seed=2, patient=1, first=21, last=23, spacing_mm=(5.0, 5.0, 4.0), orientation="PIR")
    WRITERS["kaggle"](tmp_path, 1, 1, scan)
    (raw,) = find_cases(tmp_path).cases
    entry = prepare_case(raw, within=tmp_path, store=CaseStore(tmp_path / "store"))
    row = json.loads((entry.folder / "row.json").read_text())["row"]
    # How well a file is packed may change, what is in it may not.
    parts = [{name: value for name, value in row.items() if name not in ("image_sha256", "labels_sha256")}]
    parts += [
        digest_bytes(gzip.decompress((entry.folder / name).read_bytes())) for name in ("image.nii.gz", "labels.nii.gz")
    ]
    with np.load(entry.folder / "fingerprint.npz") as kept:
        parts += [kept["labels"].tolist(), np.round(kept["cells"].astype(float), 2).tolist()]
    content = digest_bytes(
        json.dumps([parts, [each.message for each in entry.stored.findings]], sort_keys=True).encode()
    )
    assert content == CONTENT_OF_FORMAT[FORMAT], "prepared otherwise: raise FORMAT in case_store.py and note it here"
