"""Access keys: shown, and made anew one at a time."""

from collections.abc import Iterator

import pytest

from local.acs.access_keys import AccessKeys
from tests.local.acs.served import VERSION, Served, random_key, serve

TARGET = f"/identities?{VERSION}"
PRIMARY, SECONDARY = "primary", "secondary"


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An emulator whose keys a test may change."""
    with serve(tmp_path_factory.mktemp("acs")) as served:
        yield served


def test_both_keys_are_shown(acs: Served) -> None:
    """As they were given to it."""
    shown = acs.control("GET", "/keys").document

    assert shown == dict(zip((PRIMARY, SECONDARY), acs.keys, strict=True))


@pytest.mark.parametrize(("name", "index"), [(PRIMARY, 0), (SECONDARY, 1)])
def test_a_key_made_anew_replaces_the_old_one(own: Served, name: str, index: int) -> None:
    """The old one is denied, the new one opens the resource, and so does the other as before."""
    keys = own.control("POST", f"/keys/{name}").document

    assert own.signed("POST", TARGET, key=own.keys[index]).status == 401
    assert own.signed("POST", TARGET, key=keys[name]).status == 201
    assert own.signed("POST", TARGET, key=own.keys[1 - index]).status == 201


def test_an_identity_outlives_the_key_it_was_made_with(own: Served) -> None:
    """Keys open the resource; nothing in it belongs to one."""
    identity_id = own.create()

    own.control("POST", f"/keys/{PRIMARY}")

    target = f"/identities/{identity_id}?{VERSION}"
    assert own.signed("DELETE", target, key=own.keys[1]).status == 204


def test_a_key_of_another_name_is_not_found(acs: Served) -> None:
    """There are two."""
    assert acs.control("POST", "/keys/third").error[:2] == (404, "ControlError")


@pytest.mark.parametrize("keys", [("no base64", random_key()), (random_key(), "no base64")])
def test_what_is_no_key_is_refused_at_once(keys: tuple[str, str]) -> None:
    """Rather than at the first call."""
    with pytest.raises(ValueError, match=r"base64|padding"):
        AccessKeys(*keys)
