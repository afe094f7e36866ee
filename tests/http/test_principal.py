"""The signed-in user, from the header that App Service Authentication sends."""

import base64
import contextlib
import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import NotAllowed, NotSignedIn, SignInNotEnabled
from identity_service.http.principal import LONGEST, signed_in_user
from identity_service.identity import SignedInUser
from identity_service.policies import SignInPolicy

OID, TID = "11111111-2222-3333-4444-555555555555", "99999999-8888-7777-6666-555555555555"
LONG_OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
LONG_TID = "http://schemas.microsoft.com/identity/claims/tenantid"
LONG_SUB = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
LONG_SCP = "http://schemas.microsoft.com/identity/claims/scope"
ALICE = {"oid": OID, "tid": TID, "scp": "Identity.Use"}
TRUSTED = SignInPolicy(enabled=True)


def claims(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Claims as the platform writes them."""
    return [{"typ": name, "val": value} for name, value in values.items()]


def document(provider: object = "aad", values: object = None, **more: object) -> bytes:
    """A principal as JSON; by default Alice's of Entra."""
    listed = claims(values) if isinstance(values, dict) else values
    return json.dumps(
        {"auth_typ": provider, "claims": claims(ALICE) if values is None else listed, **more}
    ).encode()


def read_header(text: str) -> SignedInUser:
    """The user if the header is this text."""
    return signed_in_user({"x-ms-client-principal": text}, TRUSTED)


def read(raw: bytes) -> SignedInUser:
    """The user if the header has these bytes in base64."""
    return read_header(base64.b64encode(raw).decode())


def read_claims(values: object, scope: str = "") -> SignedInUser:
    """The Entra user with these claims, if the app requires this scope."""
    header = base64.b64encode(document("aad", values)).decode()
    return signed_in_user(
        {"x-ms-client-principal": header}, SignInPolicy(enabled=True, scope=scope)
    )


def user_id(provider: str, **values: str) -> str:
    """The user id for a provider and its claims."""
    return read(document(provider, values)).user_id


PLATFORM = [
    *claims(
        {LONG_OID: OID, LONG_TID: TID, LONG_SCP: "a b", LONG_SUB: "s", "aud": "a", "ver": "2.0"}
    ),
    *({"typ": "groups", "val": group} for group in ("one", "two")),
]
ENTRA_USER = SignedInUser(f"aad/{TID}/{OID}", OID)
VALID = {
    "Entra": (document(), ENTRA_USER),
    "Entra, as the platform writes it": (
        document("aad", PLATFORM, name_typ="n", role_typ="r"),
        ENTRA_USER,
    ),
    "Entra, names mixed": (
        document("aad", {"oid": OID, LONG_TID: TID, "sub": "s", "scp": "a"}),
        ENTRA_USER,
    ),
    "Entra, both names": (document("aad", ALICE | {LONG_OID: OID, LONG_TID: TID}), ENTRA_USER),
    "Entra in upper case": (document("AAD"), ENTRA_USER),
    "another provider": (
        document("google", {"sub": "1", "iss": "https://idp", **ALICE}),
        SignedInUser("google/https://idp/1", None),
    ),
    "no issuer": (document("google", {"sub": "1"}), SignedInUser("google/-/1", None)),
    "long name": (document("google", {LONG_SUB: "1"}), SignedInUser("google/-/1", None)),
}


@pytest.mark.parametrize(("raw", "user"), VALID.values(), ids=VALID)
def test_user(raw: bytes, user: SignedInUser) -> None:
    """An Entra user has tenant and object id, another one issuer and subject. More is ignored."""
    assert read(raw) == user


def test_other_providers_never_make_an_entra_user() -> None:
    """The same subject of two providers is two users, for any issuer."""
    ids = {
        user_id("aad", oid=OID, tid=TID, scp="a"),
        user_id("google", sub=OID),
        user_id("google", sub=OID, iss=TID),
        user_id("facebook", sub=OID),
        user_id("google", sub=f"{TID}/{OID}"),
        user_id("google", sub=OID, iss=f"aad/{TID}"),
    }

    assert len(ids) == 6
    assert sum(each.startswith("aad/") for each in ids) == 1


# Claims of Entra, the scope in the settings, and whether the caller counts as a user.
WITHOUT_SCOPE = {"oid": OID, "tid": TID}
SCOPES = {
    "any scope": (ALICE, "", True),
    "the required scope": (ALICE, "Identity.Use", True),
    "one of several": ({**ALICE, "scp": "User.Read Identity.Use Mail.Read"}, "Identity.Use", True),
    "several claims": ([*claims(ALICE), *claims({"scp": "More"})], "More", True),
    "long name": ({**WITHOUT_SCOPE, LONG_SCP: "User.Read Identity.Use"}, "Identity.Use", True),
    "both names": ({**ALICE, LONG_SCP: "More"}, "More", True),
    "idtyp of a user": ({**ALICE, "idtyp": "user"}, "", True),
    "another scope": (ALICE, "Identity.Read", False),
    "prefix of a scope": (ALICE, "Identity", False),
    "suffix of a scope": (ALICE, "Use", False),
    "longer scope": (ALICE, "Identity.Use.All", False),
    "another case": (ALICE, "identity.use", False),
    "scope of an application": ({**WITHOUT_SCOPE, "roles": "Identity.Use"}, "Identity.Use", False),
    "no scope": (WITHOUT_SCOPE, "", False),
    "no scope, one required": (WITHOUT_SCOPE, "Identity.Use", False),
    "ID token": ({**WITHOUT_SCOPE, "nonce": "n", "aud": "client", "ver": "2.0"}, "", False),
    "no claim": ([], "", False),
    "blank scope": ({**WITHOUT_SCOPE, "scp": " "}, "", False),
    "empty scope": ({**WITHOUT_SCOPE, "scp": ""}, "", False),
    "name in another case": ({**WITHOUT_SCOPE, "SCP": "Identity.Use"}, "", False),
    "application": ({**ALICE, "idtyp": "app"}, "", False),
    "application in upper case": ({**ALICE, "idtyp": "App"}, "", False),
    "application without scope": ({**WITHOUT_SCOPE, "idtyp": "app"}, "", False),
    "application with the scope": ({**ALICE, "idtyp": "app"}, "Identity.Use", False),
    "application, claim twice": (
        [*claims(ALICE), *claims({"idtyp": "user"}), *claims({"idtyp": "app"})],
        "",
        False,
    ),
}


@pytest.mark.parametrize(("values", "scope", "allowed"), SCOPES.values(), ids=SCOPES)
def test_only_people_with_the_scope(values: object, scope: str, *, allowed: bool) -> None:
    """A user of Entra needs an access token with a delegated scope, the one in the settings."""
    if allowed:
        assert read_claims(values, scope) == ENTRA_USER
        return
    with pytest.raises(NotAllowed) as caught:
        read_claims(values, scope)

    assert OID not in caught.value.detail


def test_refused_scope_names_the_required_one() -> None:
    """The error names the scope that the client must request."""
    with pytest.raises(NotAllowed) as caught:
        read_claims(ALICE, "Identity.Other")

    assert caught.value.allowed == "Identity.Other"


@pytest.mark.parametrize(
    ("claim", "reason"),
    [({"idtyp": "app"}, "An application is signed in"), ({"scp": ""}, "not an ID token")],
)
def test_refusal_says_who_is_signed_in(claim: dict[str, str], reason: str) -> None:
    """The error distinguishes an application from a token of another kind."""
    with pytest.raises(NotAllowed, match=reason):
        read_claims({**ALICE, **claim})


@pytest.mark.parametrize("more", [{}, {"idtyp": "app"}, {"scp": "Other"}])
def test_other_providers_have_no_scopes(more: dict[str, str]) -> None:
    """The scope in the settings applies to Entra only."""
    header = base64.b64encode(document("google", {"sub": "1", **more})).decode()
    policy = SignInPolicy(enabled=True, scope="Identity.Use")

    found = signed_in_user({"x-ms-client-principal": header}, policy)

    assert found == SignedInUser("google/-/1", None)


def test_entra_without_a_tenant() -> None:
    """An External ID tenant may emit no tid. The error names the claim and the remedy."""
    values = {name: value for name, value in ALICE.items() if name != "tid"}

    with pytest.raises(NotSignedIn, match=r"no tenant id \(tid\).*Configure the app registration"):
        read_claims({**values, "iss": "https://contoso.ciamlogin.com/t/v2.0"})


def test_user_in_200_groups() -> None:
    """Entra puts up to 200 groups into a token. The principal is then larger than 16 KiB."""
    groups = [{"typ": "groups", "val": str(uuid4())} for _ in range(200)]
    raw = document("aad", [*PLATFORM, *groups])

    assert len(base64.b64encode(raw)) > 16 * 1024
    assert read(raw) == ENTRA_USER


def test_largest_principal() -> None:
    """A principal of 32 KiB is accepted. One that is larger gets an error that says why."""
    room = LONGEST // 4 * 3 - len(document(more=""))

    assert read(document(more="x" * room)) == ENTRA_USER
    with pytest.raises(NotSignedIn, match=r"has 32772 bytes, more than 32768.*too many groups"):
        read(document(more="x" * (room + 1)))


INVALID = {
    "empty": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "null": b"null",
    "a number": b"1",
    "a text": b'"aad"',
    "no UTF-8": b'{"auth_typ": "\xff", "claims": []}',
    "half a surrogate": b'{"auth_typ": "aad", "claims": [{"typ": "oid", "val": "\\ud800"}]}',
    "deep": b"[" * 10_000,
    "deep inside": b'{"claims": ' + b"[" * 10_000,
    "deep in an unknown field": b'{"more": ' + b"[" * 10_000,
    "two documents": document() * 2,
    "no claims": b'{"auth_typ": "aad"}',
    "no provider": b'{"claims": []}',
    "provider null": document(None),
    "provider a number": document(1),
    "provider empty": document(""),
    "provider with a slash": document(f"aad/{TID}/x"),
    "provider blank": document(" "),
    "provider with a space": document("aad "),
    "provider with a line end": document("google\n", {"sub": "s"}),
    "provider not ASCII": document("\u212a-provider", {"sub": "s"}),
    "provider in full width": document("\uff41\uff41\uff44", {"sub": "s"}),
    "provider a dash": document("-", {"sub": "s"}),
    "claims null": document("aad", "null"),
    "claims an object": document("aad", ALICE)[:-1].replace(b"[", b"{").replace(b"]", b"}"),
    "claims of texts": document("aad", ["oid"]),
    "a claim without value": document("aad", [{"typ": "oid"}]),
    "a claim without type": document("aad", [{"val": OID}]),
    "a claim with a number": document("aad", {**ALICE, "oid": 1}),
    "a claim with a list": document("aad", {**ALICE, "oid": [OID]}),
    "a claim with null": document("aad", {**ALICE, "oid": None}),
    "no object id": document("aad", {"tid": TID, "scp": "a"}),
    "no tenant": document("aad", {"oid": OID, "scp": "a"}),
    "object id empty": document("aad", {**ALICE, "oid": ""}),
    "object id blank": document("aad", {**ALICE, "oid": " \t"}),
    "tenant empty": document("aad", {**ALICE, "tid": ""}),
    "two object ids": document("aad", [*claims(ALICE), *claims({"oid": TID})]),
    "two object ids by two names": document("aad", {**ALICE, LONG_OID: TID}),
    "two tenants": document("aad", {**ALICE, LONG_TID: OID}),
    "names in another case": document("aad", {"OID": OID, "TID": TID, "scp": "a"}),
    "Entra with a subject only": document("aad", {"sub": "s", "iss": "i", "scp": "a"}),
    "no subject": document("google", {"iss": "i", "oid": OID}),
    "two subjects": document("google", {"sub": "s", LONG_SUB: "t"}),
    "two issuers": document("google", [*claims({"sub": "s", "iss": "i"}), *claims({"iss": "j"})]),
    "the placeholder for no issuer": document("google", {"sub": "s", "iss": "-"}),
    "a user id too long": document("google", {"sub": "s" * 256}),
    "too long when escaped": document("google", {"sub": "/" * 100}),
    "too large": document("aad", {**ALICE, "more": "x" * LONGEST}),
}


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID)
def test_principal_must_identify_one_user(raw: bytes) -> None:
    """An invalid, incomplete, ambiguous or too large principal is not accepted."""
    with pytest.raises(NotSignedIn):
        read(raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "=",
        "é",
        "!!!!",
        "e30",
        document().decode(),
        base64.urlsafe_b64encode(document(more="\u07ff\u07ff\u07ff?>?>")).decode() + "-_",
        base64.b64encode(document()).decode() + "\n",
        base64.b64encode(document()).decode() + ",e30=",
        "A" * (LONGEST + 1),
        "\ud800",
    ],
)
def test_header_must_be_base64(text: str) -> None:
    """Two headers that were joined by a comma are not accepted either."""
    with pytest.raises(NotSignedIn):
        read_header(text)


def test_header_is_required() -> None:
    """The platform's other headers do not count, because they have less information."""
    with pytest.raises(NotSignedIn):
        signed_in_user({"x-ms-client-principal-id": OID}, TRUSTED)


@pytest.mark.parametrize("text", ["", "any", base64.b64encode(document()).decode()])
def test_header_is_not_trusted_without_the_platform(text: str) -> None:
    """If the platform checks no sign-ins, anyone can send the header. The error says what to do."""
    headers = {"x-ms-client-principal": text} if text else {}

    with pytest.raises(SignInNotEnabled, match="Enable App Service Authentication"):
        signed_in_user(headers, SignInPolicy())


def test_error_repeats_nothing() -> None:
    """The header may have personal data, so the error has no part of it."""
    with pytest.raises(NotSignedIn) as caught:
        read(document("aad", {"oid": OID, "scp": "a"}))

    assert OID not in caught.value.detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = (
    st.sampled_from(["oid", "tid", "sub", "iss", "scp", "idtyp", LONG_OID, LONG_TID, LONG_SUB])
    | st.text()
)
claim = st.fixed_dictionaries({"typ": names, "val": st.text()}) | json_values
principal = st.fixed_dictionaries(
    {"auth_typ": st.sampled_from(["aad", "google"]) | json_values, "claims": st.lists(claim)}
)


@given(
    st.text()
    | st.binary().map(lambda raw: base64.b64encode(raw).decode())
    | (principal | json_values).map(
        lambda value: base64.b64encode(json.dumps(value).encode()).decode()
    ),
    st.booleans(),
)
def test_any_text(text: str, enabled: bool) -> None:
    """Any text gives a user or a documented error."""
    found: SignedInUser | None = None
    errors = (NotSignedIn, NotAllowed) if enabled else (SignInNotEnabled,)
    with contextlib.suppress(*errors):
        found = signed_in_user({"x-ms-client-principal": text}, SignInPolicy(enabled=enabled))

    assert found is None or (enabled and 0 < len(found.user_id) <= 256)


visible = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text.strip()
)
tricky = st.lists(st.sampled_from(["/", "%", "%2F", "%25", "-", "a"]), min_size=1, max_size=4)
parts = tricky.map("".join) | visible
Person = tuple[str, str | None, str]
people = st.tuples(
    st.sampled_from(["google", "facebook", "twitter", "my-idp"]), st.none() | parts, parts
).filter(lambda person: person[1] != "-")


def id_of(person: Person) -> str:
    """The user id of a provider's user."""
    provider, issuer, subject = person
    return user_id(provider, sub=subject, **({} if issuer is None else {"iss": issuer}))


@given(people, people)
def test_users_never_share_an_id(one: Person, other: Person) -> None:
    """Different users have different ids, even with slashes and percent signs in their claims."""
    assert (id_of(one) == id_of(other)) == (one == other)


@given(people)
def test_user_id_can_be_parsed(person: Person) -> None:
    """The first part is the provider, the last one the subject, the rest is the issuer."""
    provider, _, rest = id_of(person).partition("/")
    issuer, _, subject = rest.rpartition("/")
    subject = subject.replace("%2F", "/").replace("%25", "%")

    assert (provider, None if issuer == "-" else issuer, subject) == person
