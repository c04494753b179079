"""The user of Kubeflow on whose behalf requests are made, as far as the profile's token names one."""

import base64
import json

from pipelines.cluster.endpoint import Endpoint

_SERVICE_ACCOUNT = "system:serviceaccount:"


def token_user(endpoint: Endpoint) -> str | None:
    """Return the user in the endpoint's token: the claim ``email``, else ``sub``, by which Kubeflow names its users.

    None without a token file, for a token that is not a JWT, and for one of a service account, which stands for no
    person. The signature is not verified here: the server that takes the token does it.
    """
    if endpoint.token_file is None:
        return None
    try:
        payload = endpoint.token_file.expanduser().read_text(encoding="ascii").strip().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        user = claims.get("email") or claims.get("sub")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    if not isinstance(user, str) or user.startswith(_SERVICE_ACCOUNT):
        return None
    return user
