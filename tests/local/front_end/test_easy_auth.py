"""Facts about sign-in in front of the app."""

import base64
import json
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from local.entra import APP_AUDIENCE, Issuer, SignIn, object_id, service_principal_id
from local.functions_host.http import Response
from tests.local.front_end.sending import FROM_THE_APP, Exchange, send
from tests.local.running_host import (
    WITH_FUNCTION_KEY,
    WITH_MASTER_KEY,
    RunningHost,
    running_host,
    write_app,
)

ISSUER, AUDIENCE, KEY_ID = "https://sts.example/tenant/", "api://app", "key-1"
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
JWKS = {"keys": [{**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": KEY_ID}]}
CONFIGURATION = json.dumps({"issuer": ISSUER, "audience": AUDIENCE, "jwks": JWKS})
SETTINGS = {"LOCAL_HOST_EASY_AUTH": CONFIGURATION}
ALICE = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "exp": int(time.time()) + 3600,
    "oid": "11111111-2222-3333-4444-555555555555",
    "tid": "99999999-8888-7777-6666-555555555555",
    "sub": "of-this-app",
    "preferred_username": "alice@localhost",
}
UNAUTHORIZED = Response(401, (("WWW-Authenticate", "Bearer"),))
FORGED = {
    "X-MS-CLIENT-PRINCIPAL": "Zm9yZ2Vk",
    "x-ms-client-principal-id": "forged",
    "X-Ms-Client-Principal-Name": "forged",
    "X-MS-CLIENT-PRINCIPAL-IDP": "forged",
    "X-MS-CLIENT-PRINCIPAL-ANYTHING": "forged",
    "X-MS-TOKEN-AAD-ACCESS-TOKEN": "forged",
    "X-MS-TOKEN-AAD-ID-TOKEN": "forged",
}
APP = """
import json, os
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
CHECKED = os.environ.get("WEBSITE_AUTH_ENABLED")

@app.route(route="seen", methods=["GET"])
async def seen(req: func.HttpRequest) -> func.HttpResponse:
    seen = {name: value for name, value in req.headers.items() if name.startswith("x-ms-")}
    return func.HttpResponse(json.dumps({"headers": seen, "checked": CHECKED}))

@app.route(route="locked", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("open")
"""


def signed(key: rsa.RSAPrivateKey = KEY, key_id: str | None = KEY_ID, **changes: object) -> str:
    """Alice's token with changed claims. None removes a claim."""
    claims = {name: value for name, value in {**ALICE, **changes}.items() if value is not None}
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": key_id} if key_id else None)


def principal_claims(exchange: Exchange) -> list[tuple[str, str]]:
    """The names and values of the claims that the app received."""
    assert exchange.received is not None
    principal = base64.b64decode(exchange.received["x-ms-client-principal"])
    return [(claim["typ"], claim["val"]) for claim in json.loads(principal)["claims"]]


def part(value: object) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def signed_with_the_public_key() -> str:
    """A token that selects HS256, with the public key as the shared secret."""
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': KEY_ID})}.{part(ALICE)}"
    code = hmac.HMAC(secret, hashes.SHA256())
    code.update(text.encode())
    return f"{text}.{base64.urlsafe_b64encode(code.finalize()).decode().rstrip('=')}"


def tampered() -> str:
    """Alice's token with Bob's object id."""
    head, _, signature = signed().split(".")
    return f"{head}.{part({**ALICE, 'oid': 'bob'})}.{signature}"


WRONG_TOKENS = {
    "expired": signed(exp=int(time.time()) - 60),
    "not yet valid": signed(nbf=int(time.time()) + 86_400),
    "for another audience": signed(aud="https://communication.azure.com"),
    "without audience": signed(aud=None),
    "of another issuer": signed(iss="https://sts.example/another/"),
    "without issuer": signed(iss=None),
    "without expiry": signed(exp=None),
    "signed with another key": signed(OTHER_KEY),
    "with an unknown key": signed(OTHER_KEY, "key-2"),
    "without key id": signed(key_id=None),
    "with a key id that is not text": f"{part({'alg': 'RS256', 'kid': [1]})}.{part(ALICE)}.e30",
    "alg none": f"{part({'alg': 'none', 'kid': KEY_ID})}.{part(ALICE)}.",
    "signed with the public key": signed_with_the_public_key(),
    "tampered with": tampered(),
    "without signature": signed().rpartition(".")[0] + ".",
    "two at once": f"{signed()},Bearer {signed()}",
    "garbage": "garbage",
    "of three empty parts": "..",
    "deep": f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.e30.e30",
    "not ASCII": "é.é.é",
    "empty": "",
}


@pytest.mark.parametrize("token", WRONG_TOKENS.values(), ids=WRONG_TOKENS)
async def test_an_invalid_token_gets_401(token: str) -> None:
    """The app is not called, not even with an anonymous request."""
    exchange = await send(SETTINGS, headers={"Authorization": f"Bearer {token}"})

    assert exchange.response == UNAUTHORIZED
    assert exchange.received is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_valid_token_identifies_its_user(scheme: str) -> None:
    """The app receives four headers, and the claims under the names that Easy Auth uses."""
    exchange = await send(SETTINGS, headers={"Authorization": f"{scheme} {signed()}"})

    headers = exchange.received
    assert headers is not None
    assert headers["x-ms-client-principal-id"] == ALICE["oid"]
    assert headers["x-ms-client-principal-name"] == ALICE["preferred_username"]
    assert headers["x-ms-client-principal-idp"] == "aad"
    principal = json.loads(base64.b64decode(headers["x-ms-client-principal"], validate=True))
    assert principal.keys() == {"auth_typ", "claims", "name_typ", "role_typ"}
    assert principal["auth_typ"] == "aad"
    assert {claim["typ"]: claim["val"] for claim in principal["claims"]} == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": str(ALICE["exp"]),
        "http://schemas.microsoft.com/identity/claims/objectidentifier": ALICE["oid"],
        "http://schemas.microsoft.com/identity/claims/tenantid": ALICE["tid"],
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier": ALICE["sub"],
        "preferred_username": ALICE["preferred_username"],
    }


async def test_a_claim_with_several_values_is_repeated() -> None:
    """The principal has one claim per value, and every value is a text."""
    token = signed(amr=["one", 2], admin=True)

    exchange = await send(SETTINGS, headers={"Authorization": f"Bearer {token}"})

    assert exchange.received is not None
    methods = "http://schemas.microsoft.com/claims/authnmethodsreferences"
    claims = principal_claims(exchange)
    assert {(methods, "one"), (methods, "2"), ("admin", "true")} <= set(claims)


@pytest.mark.parametrize(
    ("names", "role", "object_id_name"),
    [
        (
            "long",
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
            "http://schemas.microsoft.com/identity/claims/objectidentifier",
        ),
        ("short", "roles", "oid"),
    ],
)
async def test_an_application_is_identified(names: str, role: str, object_id_name: str) -> None:
    """Its claims have the long or the short names, with one claim per role. It has no name."""
    sign_in = SignIn(Issuer())
    configuration = json.dumps({**json.loads(sign_in.easy_auth()), "names": names})
    token = sign_in.application_token("billing", ["Tokens.Issue", "Identities.Read"])

    exchange = await send(
        {"LOCAL_HOST_EASY_AUTH": configuration}, headers={"Authorization": f"Bearer {token}"}
    )

    principal = service_principal_id("billing")
    claims = principal_claims(exchange)
    assert [value for name, value in claims if name == role] == ["Tokens.Issue", "Identities.Read"]
    assert {("idtyp", "app"), ("ver", "2.0"), (object_id_name, principal)} <= set(claims)
    assert exchange.received is not None
    assert exchange.received["x-ms-client-principal-id"] == principal
    assert "x-ms-client-principal-name" not in exchange.received


async def test_names_are_long_or_short() -> None:
    """Another configuration is rejected."""
    configuration = json.dumps({**json.loads(CONFIGURATION), "names": "medium"})

    with pytest.raises(ValueError, match=r"LOCAL_HOST_EASY_AUTH: .*medium"):
        await send({"LOCAL_HOST_EASY_AUTH": configuration})


async def test_an_invalid_token_of_an_application_gets_401() -> None:
    """It has expired, is for another audience, or another tenant has signed it."""
    tenant, other = Issuer(), Issuer()
    sign_in = SignIn(tenant)
    tokens = [
        sign_in.application_token("billing", ["Tokens.Issue"], minutes=-1),
        tenant.sign("https://communication.azure.com", 60, ver="2.0", roles=["Tokens.Issue"]),
        SignIn(other).application_token("billing", ["Tokens.Issue"]),
    ]

    exchanges = [
        await send(
            {"LOCAL_HOST_EASY_AUTH": sign_in.easy_auth()},
            headers={"Authorization": f"Bearer {token}"},
        )
        for token in tokens
    ]

    assert [exchange.response for exchange in exchanges] == [UNAUTHORIZED] * 3
    assert [exchange.received for exchange in exchanges] == [None] * 3


async def test_a_version_1_token_gets_401() -> None:
    """It has another issuer than the one that the front end is configured for."""
    tenant = Issuer()
    token = tenant.sign(APP_AUDIENCE, 60, ver="1.0", roles=["Tokens.Issue"])

    exchange = await send(
        {"LOCAL_HOST_EASY_AUTH": SignIn(tenant).easy_auth()},
        headers={"Authorization": f"Bearer {token}"},
    )

    assert exchange.response == UNAUTHORIZED


@pytest.mark.parametrize("authorization", ["", "Basic YTpi", "Bearertoken", "Negotiate x"])
async def test_a_request_without_a_bearer_token_is_anonymous(authorization: str) -> None:
    """It reaches the app unchanged, but for the mark of a request from outside."""
    exchange = await send(SETTINGS, headers={"Authorization": authorization})

    assert exchange.status == FROM_THE_APP
    assert exchange.received is not None
    added = exchange.received.keys() - {"authorization"}
    assert (exchange.received["authorization"], added) == (authorization, {"x-arr-log-id"})


@pytest.mark.parametrize("path", ["/admin/functions", "/Admin/host/status", "/admin"])
async def test_admin_endpoints_ignore_tokens(path: str) -> None:
    """The platform sends its own tokens there. Forged principals are removed all the same."""
    headers = {"Authorization": "Bearer wrong", "X-MS-CLIENT-PRINCIPAL": "forged"}

    exchange = await send(SETTINGS, path, headers)
    similar = await send(SETTINGS, "/administration", headers)

    assert exchange.status == FROM_THE_APP
    assert exchange.received is not None
    assert exchange.received.keys() == {"authorization", "x-arr-log-id"}
    assert similar.status == 401


async def test_a_token_of_the_local_tenant_is_accepted() -> None:
    """The tenant's configuration has its public key, and no private one."""
    sign_in = SignIn(Issuer())
    configuration = sign_in.easy_auth()
    headers = {"Authorization": f"Bearer {sign_in.token('alice')}"}

    exchange = await send({"LOCAL_HOST_EASY_AUTH": configuration}, headers=headers)

    assert exchange.received is not None
    assert exchange.received["x-ms-client-principal-id"] == object_id("alice")
    document = json.loads(configuration)
    assert document["audience"] == APP_AUDIENCE
    [key] = document["jwks"]["keys"]
    assert key.keys().isdisjoint({"d", "p", "q", "dp", "dq", "qi"})


@pytest.mark.parametrize("token", ["", signed()], ids=["anonymous", "alice"])
def test_forged_principal_headers_never_reach_the_app(host: RunningHost, token: str) -> None:
    """The app receives only the headers that the front end sets."""
    authorization = {"Authorization": f"Bearer {token}"} if token else {}

    plain = host.call("GET", "/api/seen", authorization)
    forged = host.call("GET", "/api/seen", {**FORGED, **authorization})

    assert forged.status == 200
    assert forged.json() == plain.json()
    assert bool(forged.json()["headers"]) == bool(token)


def test_keys_and_tokens_are_independent(host: RunningHost) -> None:
    """A valid token does not replace a key, and a key does not excuse an invalid token."""
    key = WITH_FUNCTION_KEY
    application = signed(idtyp="app", roles=["Tokens.Issue"], azp="an-application")
    tokens = (signed(), application, "wrong")
    right, app, wrong = ({"Authorization": f"Bearer {token}"} for token in tokens)

    statuses = [
        host.call("GET", "/api/locked", headers).status
        for headers in (right, app, key, key | right, key | app, key | wrong)
    ]

    assert statuses == [401, 401, 200, 200, 200, 401]
    assert host.call("GET", "/api/seen").status == 200
    assert host.call("GET", "/admin/functions", WITH_MASTER_KEY | wrong).status == 200


def test_the_app_knows_whether_sign_ins_are_checked(host: RunningHost, tmp_path: Path) -> None:
    """The host overrides the setting. Without sign-in, forged headers reach the app."""
    checked = host.call("GET", "/api/seen").json()
    with running_host(write_app(tmp_path, APP), {"WEBSITE_AUTH_ENABLED": "True"}) as without:
        unchecked = without.call("GET", "/api/seen", FORGED).json()

    assert (checked["checked"], unchecked["checked"]) == ("True", "False")
    assert unchecked["headers"]["x-ms-client-principal"] == FORGED["X-MS-CLIENT-PRINCIPAL"]
