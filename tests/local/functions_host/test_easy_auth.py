"""Facts about sign-in in front of the app."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from local.functions_host.easy_auth import EasyAuth
from local.functions_host.front_end import take_layers
from local.functions_host.pipeline import Answer, Request
from tests.local.functions_host.running import (
    PATIENCE,
    WITH_FUNCTION_KEY,
    WITH_MASTER_KEY,
    RunningHost,
    running_host,
    start_process,
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
NAMES = [name for name in os.environ if name.startswith("LOCAL_HOST")]
CHECKED = os.environ.get("WEBSITE_AUTH_ENABLED")

@app.route(route="seen", methods=["GET"])
async def seen(req: func.HttpRequest) -> func.HttpResponse:
    about = {name: value for name, value in req.headers.items() if name.startswith("x-ms-")}
    return func.HttpResponse(json.dumps({"headers": about, "names": NAMES, "checked": CHECKED}))

@app.route(route="locked", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("open")
"""


def signed(key: rsa.RSAPrivateKey = KEY, key_id: str | None = KEY_ID, **changes: object) -> str:
    """Alice's token, with these claims changed, or left out where they are None."""
    claims = {name: value for name, value in {**ALICE, **changes}.items() if value is not None}
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": key_id} if key_id else None)


def part(value: object) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def signed_with_the_public_key() -> str:
    """What fools who lets the token choose the algorithm: a shared secret that everybody knows."""
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': KEY_ID})}.{part(ALICE)}"
    code = hmac.HMAC(secret, hashes.SHA256())
    code.update(text.encode())
    return f"{text}.{base64.urlsafe_b64encode(code.finalize()).decode().rstrip('=')}"


def tampered() -> str:
    """Alice's token, saying that it is Bob's."""
    head, _, signature = signed().split(".")
    return f"{head}.{part({**ALICE, 'oid': 'bob'})}.{signature}"


WRONG_TOKENS = {
    "expired": signed(exp=int(time.time()) - 60),
    "not yet valid": signed(nbf=int(time.time()) + 600),
    "for another audience": signed(aud="https://communication.azure.com"),
    "for nobody": signed(aud=None),
    "of another issuer": signed(iss="https://sts.example/another/"),
    "of no issuer": signed(iss=None),
    "for ever": signed(exp=None),
    "signed by somebody else": signed(OTHER_KEY),
    "with an unknown key": signed(OTHER_KEY, "key-2"),
    "without a key's id": signed(key_id=None),
    "with a key's id that is no text": f"{part({'alg': 'RS256', 'kid': [1]})}.{part(ALICE)}.e30",
    "alg none": f"{part({'alg': 'none', 'kid': KEY_ID})}.{part(ALICE)}.",
    "signed with the public key": signed_with_the_public_key(),
    "tampered with": tampered(),
    "without signature": signed().rpartition(".")[0] + ".",
    "two at once": f"{signed()},Bearer {signed()}",
    "garbage": "garbage",
    "of three empty parts": "..",
    "deep": f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.e30.e30",
    "not ASCII": "é.é.é",
    "none at all": "",
}


class Rest:
    """What lies behind the layer; it remembers what came through."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    async def __call__(self, request: Request) -> Answer:
        """Answer whatever comes."""
        self.seen.append(request)
        return Answer(200)


async def through(path: str = "/api/seen", **headers: str) -> tuple[Answer, Mapping[str, str]]:
    """The answer to a request, and the headers with which it came through, if it did."""
    rest = Rest()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request("GET", path, "", names, {})
    answer = await EasyAuth.read(CONFIGURATION).layer(request, rest)
    return answer, rest.seen[0].headers if rest.seen else {}


@pytest.mark.parametrize("token", WRONG_TOKENS.values(), ids=WRONG_TOKENS)
async def test_a_wrong_token_is_401(token: str) -> None:
    """The app is not asked: not even as nobody's does the request come through."""
    answer, headers = await through(authorization=f"Bearer {token}")

    assert answer == Answer(401, (("WWW-Authenticate", "Bearer"),))
    assert headers == {}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_right_token_names_its_user(scheme: str) -> None:
    """By four headers, with the names that the platform gives to claims."""
    answer, headers = await through(authorization=f"{scheme} {signed()}")

    assert answer.status == 200
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


async def test_a_claim_of_several_values_comes_once_for_each() -> None:
    """And every value is a text."""
    _, headers = await through(authorization=f"Bearer {signed(roles=['one', 2], admin=True)}")

    claims = json.loads(base64.b64decode(headers["x-ms-client-principal"]))["claims"]
    said = [(claim["typ"], claim["val"]) for claim in claims]
    assert {("roles", "one"), ("roles", "2"), ("admin", "true")} <= set(said)


@pytest.mark.parametrize("authorization", ["", "Basic YTpi", "Bearertoken", "Negotiate x"])
async def test_who_brings_no_bearer_token_is_nobody(authorization: str) -> None:
    """The request comes through all the same."""
    answer, headers = await through(authorization=authorization)

    assert (answer.status, headers) == (200, {"authorization": authorization})


@pytest.mark.parametrize("path", ["/admin/functions", "/Admin/host/status", "/admin"])
async def test_the_hosts_own_endpoints_look_at_no_token(path: str) -> None:
    """There the platform brings tokens of another kind; principals go no further all the same."""
    answer, headers = await through(
        path, authorization="Bearer wrong", x_ms_client_principal="forged"
    )

    assert (answer.status, headers) == (200, {"authorization": "Bearer wrong"})


async def test_what_only_begins_like_admin_does_look() -> None:
    """An app may have such a route."""
    answer, _ = await through("/administration", authorization="Bearer wrong")

    assert answer.status == 401


@pytest.mark.parametrize("token", ["", signed()], ids=["nobody", "alice"])
def test_nobody_tells_the_app_who_they_are(host: RunningHost, token: str) -> None:
    """Whatever is sent along under the platform's names is gone, over the wire too."""
    authorization = {"Authorization": f"Bearer {token}"} if token else {}

    plain = host.call("GET", "/api/seen", authorization)
    forged = host.call("GET", "/api/seen", {**FORGED, **authorization})

    assert forged.status == 200
    assert forged.json() == plain.json()
    assert bool(forged.json()["headers"]) == bool(token)


def test_a_refusal_over_the_wire(host: RunningHost) -> None:
    """Without a body."""
    refused = host.call("GET", "/api/seen", {"Authorization": "Bearer wrong"})

    assert (refused.status, refused.body) == (401, b"")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_keys_and_tokens_are_two_things(host: RunningHost) -> None:
    """A user's token is no key, and a key saves no wrong token."""
    key = WITH_FUNCTION_KEY
    right, wrong = ({"Authorization": f"Bearer {token}"} for token in (signed(), "wrong"))

    statuses = [
        host.call("GET", "/api/locked", headers).status
        for headers in (right, key, key | right, key | wrong)
    ]

    assert statuses == [401, 200, 200, 401]
    assert host.call("GET", "/admin/functions", WITH_MASTER_KEY | wrong).status == 200


def test_the_app_is_told_that_sign_ins_are_checked(host: RunningHost) -> None:
    """As the platform tells it; what they are checked with it does not see."""
    seen = host.call("GET", "/api/seen").json()

    assert (seen["checked"], seen["names"]) == ("True", [])


@pytest.fixture(scope="module")
def without_sign_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """The same app where nobody checks, though its settings say that somebody does."""
    app = write_app(tmp_path_factory.mktemp("app"), APP)
    with running_host(app, {"WEBSITE_AUTH_ENABLED": "True"}) as running:
        yield running


def test_the_app_is_told_that_nobody_checks(without_sign_in: RunningHost) -> None:
    """The host knows better than any setting. What is sent along is then what the app sees."""
    seen = without_sign_in.call("GET", "/api/seen", FORGED).json()

    assert seen["checked"] == "False"
    assert seen["headers"]["x-ms-client-principal"] == FORGED["X-MS-CLIENT-PRINCIPAL"]


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        json.dumps({"issuer": "", "audience": AUDIENCE, "jwks": JWKS}),
        json.dumps({"issuer": ISSUER, "audience": "", "jwks": JWKS}),
        json.dumps({"issuer": ISSUER, "audience": AUDIENCE, "jwks": {"keys": []}}),
        json.dumps({"issuer": ISSUER, "audience": AUDIENCE, "jwks": {"keys": [{"kty": "no"}]}}),
    ],
)
def test_a_configuration_that_is_none_is_refused(text: str) -> None:
    """With the variable's name: nothing is checked by half."""
    with pytest.raises(ValueError, match=r"^LOCAL_HOST_EASY_AUTH: "):
        take_layers({"LOCAL_HOST_EASY_AUTH": text})


def test_cors_comes_first() -> None:
    """A preflight brings no token, and a page may read that it was refused."""
    layers = take_layers({"LOCAL_HOST_CORS_ORIGINS": "http://localhost:5173", **SETTINGS})

    assert [layer.__qualname__ for layer in layers] == ["Cors.layer", "EasyAuth.layer"]


def test_the_host_does_not_start_with_one(tmp_path: Path) -> None:
    """It ends as with any wrong option."""
    settings = {"LOCAL_HOST_EASY_AUTH": "nonsense"}
    with start_process(write_app(tmp_path, APP), subprocess.PIPE, settings=settings) as process:
        assert process.stderr
        errors = process.stderr.read().decode()
        code = process.wait(PATIENCE)

    assert code == 2
    assert "LOCAL_HOST_EASY_AUTH: " in errors
