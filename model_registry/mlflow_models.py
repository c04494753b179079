"""MLflow's registered model: its versions, and aliases that follow the ledger."""

from collections.abc import Mapping, Sequence

from mlflow.exceptions import MlflowException

from model_registry.ledger import Event
from model_registry.mirroring import ANCHOR_TAG, aliases_of, is_anchored, parse_anchor
from model_registry.mlflow_connection import MlflowConnection
from model_registry.state import State
from spine.errors import InvalidValueError

_DIGEST_TAG = "spineline.bundle"
_ALIASES = ("candidate", "champion", "previous")


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

    def aliases(self) -> dict[str, int]:
        """Return the aliases as MLflow has them."""
        with self._reported():
            found = self._client.search_registered_models(filter_string=f"name = '{self._name}'")
            return {alias: int(version) for model in found for alias, version in model.aliases.items()}

    def mirror(self, state: State, *, events: Sequence[Event] = ()) -> None:
        """Make MLflow's aliases say what the ledger says, and anchor the newest of its ``events`` there.

        An anchor that the events don't contain stays as it is: it shows that the ledger lost what it had.
        """
        self.check()
        wanted = aliases_of(state)
        found = self.aliases()
        with self._reported():
            for alias in _ALIASES:
                if alias in wanted and found.get(alias) != wanted[alias]:
                    self._client.set_registered_model_alias(self._name, alias, str(wanted[alias]))
                elif alias not in wanted and alias in found:
                    self._client.delete_registered_model_alias(self._name, alias)
        if not events or not is_anchored(events, self.anchor()):
            return
        with self._reported():
            newest = events[-1]
            self._client.set_registered_model_tag(self._name, ANCHOR_TAG, f"{newest.number}:{newest.digest}")

    def anchor(self) -> tuple[int, str] | None:
        """Return number and digest of the newest event that MLflow was told of, if it was told of any."""
        with self._reported():
            found = self._client.search_registered_models(filter_string=f"name = '{self._name}'")
        return parse_anchor(next((model.tags.get(ANCHOR_TAG, "") for model in found), ""))

    def _create_model(self) -> None:
        try:
            self._client.create_registered_model(
                self._name, description="Vertebra segmentation in CT. Not for clinical use."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
