"""Names and values as MLflow takes them, and addresses as its drivers do."""

import posixpath
import re

KUBEFLOW_RUN_TAG = "spineline.kubeflow_run"
"""Tag of a run that holds the id of the Kubeflow run, or of the local run, that last trained it."""
_LONGEST_NAME, _LONGEST_VALUE = 250, 6000
"""Characters that MLflow takes of a name, and of a parameter's value (a tag's may have 8000)."""
_NOT_IN_NAMES = re.compile(r"[^/\w.\- :]")
_POSTGRESQL = re.compile(r"^postgres(ql)?://")
_PASSWORD = re.compile(r"(?<=://)[^/@]*@")


def allowed(name: str) -> str:
    """Return a name as MLflow takes it: few characters, and no path that means another."""
    cleaned = _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME]
    if cleaned == posixpath.normpath(cleaned) and not cleaned.startswith((".", "/")):
        return cleaned
    return f"_{cleaned.replace('/', '_')}"[:_LONGEST_NAME]


def cut(value: str) -> str:
    """Return a value no longer than MLflow takes it."""
    value = value.replace("\0", "")  # PostgreSQL refuses it in a text
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"


def with_driver(uri: str) -> str:
    """Return a database's URI with the PostgreSQL driver that is installed: SQLAlchemy would look for another."""
    return _POSTGRESQL.sub("postgresql+psycopg2://", uri)


def without_password(text: str) -> str:
    """Return a text in which no URI says who logs in and how."""
    return _PASSWORD.sub("", text)
