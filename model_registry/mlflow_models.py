"""MLflow's registered model: its versions, and aliases and tags that follow the ledger."""

from collections.abc import Mapping, Sequence

from mlflow.exceptions import MlflowException

from model_registry.ledger import Event
from model_registry.ledger_observers import LedgerObserver, lost_events
from model_registry.mlflow_aliases import (
    ANCHOR_TAG,
    OLD_STAGE_TAG,
    STAGE_TAG,
    Mirroring,
    MlflowModel,
    MlflowVersion,
    compare,
    is_anchored,
    parse_anchor,
)
from model_registry.mlflow_connection import MlflowConnection
from model_registry.state import State
from spine.errors import InvalidValueError

_DIGEST_TAG = "spineline.bundle"


class MlflowModels(MlflowConnection):
    """The versions of the registered model."""

    def create_version(self, *, run_id: str, source: str, digest: str, tags: Mapping[str, str]) -> int:
        """Create the next version of the registered model, whose bundle lies at the URI ``source``.

        A digest has one version. MLflow has no such rule: of two that are created at one moment, whoever made the
        later one deletes it again. Raises InvalidValueError for a folder of this machine on a tracking server, which
        MLflow does not take.
        """
        if self._uri.startswith("http") and source.startswith("file:"):
            expected = "SPINELINE_MODEL_STORE, s3://bucket/prefix: a tracking server takes no folder of this machine"
            raise InvalidValueError("place of the model", source, expected=expected)
        with self._reported():
            known = self.version_of(digest)
            if known is not None:
                return known
            self._create_model()
            created = self._client.create_model_version(
                self._name, source=source, run_id=run_id, tags={**tags, _DIGEST_TAG: digest}
            )
            first = self.version_of(digest)
            if first is None or first == int(created.version):
                return int(created.version)
            self._client.delete_model_version(self._name, created.version)
            return first

    def version_of(self, digest: str) -> int | None:
        """Return the first version whose bundle has ``digest``, if there is one."""
        with self._reported():
            found = self._client.search_model_versions(f"name = '{self._name}' and tags.`{_DIGEST_TAG}` = '{digest}'")
            return min((int(version.version) for version in found), default=None)

    def model(self) -> MlflowModel:
        """Return the registered model as MLflow has it; without versions where there is none."""
        condition = f"name = '{self._name}'"
        with self._reported():
            models = self._client.search_registered_models(filter_string=condition)
            versions = self._client.search_model_versions(condition) if models else ()
        tags = models[0].tags if models else {}
        return MlflowModel(
            aliases={alias: int(version) for model in models for alias, version in model.aliases.items()},
            versions={
                int(version.version): MlflowVersion(version.tags.get(_DIGEST_TAG), version.tags.get(STAGE_TAG))
                for version in versions
            },
            anchor=parse_anchor(tags.get(ANCHOR_TAG, "")),
        )

    def aliases(self) -> dict[str, int]:
        """Return the aliases as MLflow has them."""
        return dict(self.model().aliases)

    def anchor(self) -> tuple[int, str] | None:
        """Return number and digest of the newest event that MLflow was brought to, if there is one."""
        return self.model().anchor

    def mirror(self, state: State, *, events: Sequence[Event] = ()) -> tuple[str, ...]:
        """Make MLflow's aliases and tags equal to the ledger, and anchor the newest of its ``events`` there.

        Returns the differences that this cannot repair. Only what differs is written, and nothing at all where the
        anchor is not among the events: the ledger has lost what it had.
        """
        self.check()
        model = self.model()
        if events and model.anchor and not is_anchored(events, model.anchor):
            return tuple(lost_events(events, [LedgerObserver("MLflow", *model.anchor)]))
        changes = compare(state, model)
        if changes.is_needed:
            self._write(changes)
        newest = (events[-1].number, events[-1].digest) if events else None
        if newest and newest != model.anchor and model.versions:
            with self._reported():
                self._client.set_registered_model_tag(self._name, ANCHOR_TAG, f"{newest[0]}:{newest[1]}")
        return changes.conflicts

    def _write(self, changes: Mirroring) -> None:
        with self._reported():
            for alias, version in changes.aliases.items():
                if version is None:
                    self._client.delete_registered_model_alias(self._name, alias)
                else:
                    self._client.set_registered_model_alias(self._name, alias, str(version))
            for number, stage in changes.stages.items():
                self._client.set_model_version_tag(self._name, str(number), STAGE_TAG, stage)
                self._client.delete_model_version_tag(self._name, str(number), OLD_STAGE_TAG)

    def _create_model(self) -> None:
        try:
            self._client.create_registered_model(
                self._name, description="Vertebra segmentation in CT. Not for clinical use."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
