"""The exchange of an Entra user's own token."""

from typing import Any
from uuid import uuid4

import pytest

from local.acs.entra_users import CLIENTS_AUDIENCE
from local.entra import ACS_AUDIENCE, TEAMS_AUDIENCE, Issuer
from tests.local.acs.support import EmulatorClient, Response

PATH = "/access/entra/:exchangeAccessToken"
VERSION = "2025-03-02-preview"
DENIED = (401, "Denied", "Denied by the resource provider.", None)
USER = str(uuid4())


def _exchange(acs: EmulatorClient, token: str, *, version: str = VERSION) -> Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return acs.send("POST", f"{PATH}?api-version={version}", headers, b"{}")


def _user(acs: EmulatorClient, **body: object) -> Any:
    return acs.control("POST", "/entra-user", {"userId": USER, **body}).document


@pytest.mark.parametrize("version", ["2024-04-01-preview", "2025-03-02-preview"])
def test_a_token_is_exchanged_for_its_user_and_scopes(acs: EmulatorClient, version: str) -> None:
    """The access token expires with the Entra token. Client SDKs use these two api-versions."""
    token = _user(acs, scopes=["VoIP", "Chat.Join.Limited"])["token"]

    response = _exchange(acs, token, version=version)

    issued = acs.issuer.verify(token, CLIENTS_AUDIENCE)
    identity_id = f"8:acs:{acs.emulator.resource_id}_wf_{issued['tid']}_{USER}"
    verified = acs.verify(response.document["accessToken"]["token"])
    assert (response.status, response.document["identity"]) == (200, {"id": identity_id})
    assert verified["valid"]
    assert f"8:{verified['claims']['skypeid']}" == identity_id
    assert verified["claims"]["acsScope"] == "voip,chat.join.limited"
    assert verified["claims"]["exp"] == issued["exp"]


def test_the_user_is_no_identity_of_the_resource(acs: EmulatorClient) -> None:
    """Its tokens cannot be revoked, and no identity is created."""
    identity_id = _exchange(acs, _user(acs)["token"]).document["identity"]["id"]

    assert acs.revoke(identity_id).error[1] == "IdentityNotOwned"
    assert acs.control("GET", "/identities").document["identities"] == []
    assert acs.counts("exchangeEntra") == (1, 1)


def test_an_invalid_token_is_denied(acs: EmulatorClient) -> None:
    """It is expired, for another audience or of another tenant, or has no user or no scope."""
    claims = {"oid": USER, "scp": "VoIP"}
    tokens = {
        "garbage": "a.b.c",
        "expired": acs.issuer.sign(CLIENTS_AUDIENCE, -1, **claims),
        "for the service": acs.issuer.sign(ACS_AUDIENCE, 60, **claims),
        "for Teams": acs.issuer.sign(TEAMS_AUDIENCE, 60, **claims),
        "of another tenant": Issuer().sign(CLIENTS_AUDIENCE, 60, **claims),
        "without a user": acs.issuer.sign(CLIENTS_AUDIENCE, 60, scp="VoIP"),
        "without a scope": acs.issuer.sign(CLIENTS_AUDIENCE, 60, oid=USER),
        "with an unknown scope": acs.issuer.sign(CLIENTS_AUDIENCE, 60, oid=USER, scp="Mail"),
    }

    errors = {name: _exchange(acs, token).error for name, token in tokens.items()}

    assert errors == dict.fromkeys(tokens, DENIED)


def test_an_access_key_cannot_exchange(acs: EmulatorClient) -> None:
    """Only the user itself can: the token is the only credential."""
    assert acs.signed("POST", f"{PATH}?api-version={VERSION}", {}).error == DENIED


@pytest.mark.parametrize("version", ["2025-06-30", "2026-09-23"])
def test_stable_versions_have_no_such_exchange(acs: EmulatorClient, version: str) -> None:
    """It exists only in previews."""
    response = _exchange(acs, _user(acs)["token"], version=version)

    assert response.error[:2] == (400, "UnsupportedApiVersion")
