"""A signed-in Teams user's exchange."""

import pytest

from identity_service.decoding import decode
from identity_service.errors import InvalidBody, NotAllowed
from identity_service.operations import exchange_my_teams_token
from identity_service.operations.exchange_my_teams_token import ExchangeMyTeamsToken
from tests.operations_me.world import ALICE, BOB, OID, TinyAcs

APP_ID = "00000000-0000-4000-8000-000000000001"
BODY = ExchangeMyTeamsToken(token="entra-token")


async def test_user_and_app_are_not_the_callers_to_say(acs: TinyAcs) -> None:
    """The one is who is signed in, the other stands in the settings."""
    exchanged = await exchange_my_teams_token(ALICE, BODY, acs, APP_ID)

    assert acs.calls == [("exchange_teams_token", "entra-token", APP_ID, OID)]
    assert exchanged.token


@pytest.mark.parametrize("name", ["userId", "appId"])
def test_they_cannot_even_be_said(name: str) -> None:
    """A body that says them is refused."""
    with pytest.raises(InvalidBody) as refused:
        decode(f'{{"token": "t", "{name}": "{OID}"}}'.encode(), ExchangeMyTeamsToken)

    assert refused.value.field == name


async def test_who_is_not_of_entra_has_no_teams(acs: TinyAcs) -> None:
    """ACS is not asked."""
    with pytest.raises(NotAllowed, match="Entra"):
        await exchange_my_teams_token(BOB, BODY, acs, APP_ID)

    assert acs.calls == []


async def test_without_the_setting_nothing_is_exchanged(acs: TinyAcs) -> None:
    """The answer names it."""
    with pytest.raises(NotAllowed, match="TEAMS_APP_ID"):
        await exchange_my_teams_token(ALICE, BODY, acs, "")

    assert acs.calls == []
