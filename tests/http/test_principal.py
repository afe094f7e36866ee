"""Who is signed in: facts about the principal that the platform passes on."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import NotSignedIn, SignInNotEnabled
from identity_service.principal import LONGEST, Caller, caller

OID, TID = "11111111-2222-3333-4444-555555555555", "99999999-8888-7777-6666-555555555555"
LONG_OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
LONG_TID = "http://schemas.microsoft.com/identity/claims/tenantid"
LONG_SUB = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
ALICE = {"oid": OID, "tid": TID}


def claims(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Claims as the platform writes them."""
    return [{"typ": name, "val": value} for name, value in said.items()]


def document(auth_typ: object = "aad", said: object = None, **more: object) -> bytes:
    """A principal's JSON; alice's of Entra where nothing else is said."""
    listed = claims(said) if isinstance(said, dict) else said
    return json.dumps(
        {"auth_typ": auth_typ, "claims": claims(ALICE) if said is None else listed, **more}
    ).encode()


def read(raw: bytes) -> Caller:
    """Who it is when the header holds these bytes in base64."""
    return header(base64.b64encode(raw).decode())


def header(text: str) -> Caller:
    """Who it is when the header is this text."""
    return caller({"x-ms-client-principal": text}, sign_in_enabled=True)


def user_id(provider: str, **said: str) -> str:
    """The user id of somebody who is signed in there."""
    return read(document(provider, said)).user_id


@pytest.mark.parametrize("oid", ["oid", LONG_OID])
@pytest.mark.parametrize("tid", ["tid", LONG_TID])
def test_a_user_of_entra(oid: str, tid: str) -> None:
    """Tenant and object id make the user id, under short names or long ones."""
    found = read(document("aad", {oid: OID, tid: TID, "sub": "pairwise", "name": "Alice"}))

    assert found == Caller(f"aad/{TID}/{OID}", OID)


def test_a_principal_as_the_platform_writes_it() -> None:
    """With members and claims that say nothing about who it is, and some of them twice."""
    listed = [
        *claims({LONG_OID: OID, LONG_TID: TID, LONG_SUB: "s", "aud": "a", "ver": "2.0"}),
        *({"typ": "groups", "val": group} for group in ("one", "two")),
    ]

    found = read(document("aad", listed, name_typ="n", role_typ="r"))

    assert found.user_id == f"aad/{TID}/{OID}"


def test_a_claim_that_is_said_twice_alike() -> None:
    """Under its short name and under its long one: it is one thing."""
    assert user_id("aad", oid=OID, tid=TID, **{LONG_OID: OID, LONG_TID: TID}) == f"aad/{TID}/{OID}"


@pytest.mark.parametrize("sub", ["sub", LONG_SUB])
@pytest.mark.parametrize(("issuer", "shown"), [({"iss": "https://idp"}, "https://idp"), ({}, "-")])
def test_a_user_of_another_provider(sub: str, issuer: dict[str, str], shown: str) -> None:
    """Provider, issuer and subject make the user id; there is no object id, whatever is claimed."""
    found = read(document("google", {sub: "123", "oid": OID, "tid": TID, **issuer}))

    assert found == Caller(f"google/{shown}/123", None)


def test_the_case_of_a_providers_name_says_nothing() -> None:
    """Entra is Entra."""
    assert read(document("AAD")) == read(document("aad"))


def test_the_same_subject_of_two_providers_is_two_users() -> None:
    """Nor does another provider make an Entra user's id, whatever its issuer and subject are."""
    ids = {
        user_id("aad", oid=OID, tid=TID),
        user_id("google", sub=OID),
        user_id("google", sub=OID, iss=TID),
        user_id("facebook", sub=OID),
        user_id("google", sub=f"{TID}/{OID}"),
        user_id("google", sub=OID, iss=f"aad/{TID}"),
    }

    assert len(ids) == 6
    assert sum(each.startswith("aad/") for each in ids) == 1


FORGED = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "null": b"null",
    "a number": b"1",
    "a text": b'"aad"',
    "no UTF-8": b'{"auth_typ": "\xff", "claims": []}',
    "half a surrogate": b'{"auth_typ": "aad", "claims": [{"typ": "oid", "val": "\\ud800"}]}',
    "deep": b"[" * 10_000,
    "deep inside": b'{"claims": ' + b"[" * 10_000,
    "deep in a member that says nothing": b'{"more": ' + b"[" * 10_000,
    "two documents": document() * 2,
    "no claims": b'{"auth_typ": "aad"}',
    "no provider": b'{"claims": []}',
    "provider null": document(None),
    "provider a number": document(1),
    "provider empty": document(""),
    "provider with a slash": document(f"aad/{TID}/x"),
    "provider blank": document(" "),
    "provider with a blank": document("aad "),
    "provider with a line end": document("google\n", {"sub": "s"}),
    "provider of other letters": document("\u212a-provider", {"sub": "s"}),
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
    "claims empty": document("aad", []),
    "no object id": document("aad", {"tid": TID}),
    "no tenant": document("aad", {"oid": OID}),
    "object id empty": document("aad", {**ALICE, "oid": ""}),
    "object id blank": document("aad", {**ALICE, "oid": " \t"}),
    "tenant empty": document("aad", {**ALICE, "tid": ""}),
    "two object ids": document("aad", [*claims(ALICE), *claims({"oid": TID})]),
    "two object ids by two names": document("aad", {**ALICE, LONG_OID: TID}),
    "two tenants": document("aad", {**ALICE, LONG_TID: OID}),
    "names in other case": document("aad", {"OID": OID, "TID": TID}),
    "Entra by subject only": document("aad", {"sub": "s", "iss": "i"}),
    "no subject": document("google", {"iss": "i", "oid": OID}),
    "two subjects": document("google", {"sub": "s", LONG_SUB: "t"}),
    "two issuers": document("google", [*claims({"sub": "s", "iss": "i"}), *claims({"iss": "j"})]),
    "the issuer that stands for none": document("google", {"sub": "s", "iss": "-"}),
    "a user id too long": document("google", {"sub": "s" * 256}),
    "too long by its escapes": document("google", {"sub": "/" * 100}),
    "oversized": document("aad", {**ALICE, "more": "x" * LONGEST}),
}


@pytest.mark.parametrize("raw", FORGED.values(), ids=FORGED)
def test_what_names_no_user_for_certain_names_none(raw: bytes) -> None:
    """Malformed, incomplete, ambiguous, oversized: nobody is signed in."""
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
def test_what_is_no_base64_names_nobody(text: str) -> None:
    """Two headers joined by a comma are none either."""
    with pytest.raises(NotSignedIn):
        header(text)


def test_no_header_is_nobody() -> None:
    """The other headers of the platform do not count: they say less."""
    with pytest.raises(NotSignedIn):
        caller({"x-ms-client-principal-id": OID}, sign_in_enabled=True)


@pytest.mark.parametrize("headers", [{}, {"x-ms-client-principal": "any"}])
def test_where_nobody_checks_nobody_is_believed(headers: dict[str, str]) -> None:
    """Not even looked at; the answer says how to switch it on."""
    right = {"x-ms-client-principal": base64.b64encode(document()).decode()}

    for sent in (headers, right):
        with pytest.raises(SignInNotEnabled, match="Switch on App Service Authentication"):
            caller(sent, sign_in_enabled=False)


def test_a_refusal_repeats_nothing() -> None:
    """What was sent may be somebody's."""
    with pytest.raises(NotSignedIn) as refused:
        read(document("aad", {"oid": OID}))

    assert OID not in refused.value.detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.sampled_from(["oid", "tid", "sub", "iss", LONG_OID, LONG_TID, LONG_SUB]) | st.text()
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
def test_any_text_whatever(text: str, enabled: bool) -> None:
    """Is a caller or one of the two errors: never anything else."""
    found: Caller | None = None
    refusal = NotSignedIn if enabled else SignInNotEnabled

    with contextlib.suppress(refusal):
        found = caller({"x-ms-client-principal": text}, sign_in_enabled=enabled)

    assert found is None or (enabled and 0 < len(found.user_id) <= 256)


visible = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text.strip()
)
tricky = st.lists(st.sampled_from(["/", "%", "%2F", "%25", "-", "a"]), min_size=1, max_size=4)
parts = tricky.map("".join) | visible
people = st.tuples(
    st.sampled_from(["google", "facebook", "twitter", "my-idp"]), st.none() | parts, parts
).filter(lambda person: person[1] != "-")


def id_of(person: tuple[str, str | None, str]) -> str:
    """The user id of a provider's user."""
    provider, issuer, subject = person
    return user_id(provider, sub=subject, **({} if issuer is None else {"iss": issuer}))


@given(people, people)
def test_two_users_never_share_an_id(one: tuple[str, str | None, str], two: Any) -> None:
    """Whatever stands in issuers and subjects, slashes and percent signs included."""
    assert (id_of(one) == id_of(two)) == (one == two)


@given(people)
def test_a_user_id_can_be_read_back(person: tuple[str, str | None, str]) -> None:
    """Its first part is the provider, its last one the subject, what is between is the issuer."""
    provider, _, rest = id_of(person).partition("/")
    issuer, _, subject = rest.rpartition("/")
    subject = subject.replace("%2F", "/").replace("%25", "%")

    assert (provider, None if issuer == "-" else issuer, subject) == person
