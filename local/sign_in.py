"""Sign-in on loopback: the users of the local tenant, and the tokens they bring to the app."""

from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

import msgspec
from aiohttp import web

from local.entra import Issuer

# The app's registration in the tenant.
AUDIENCE = "api://acs-identity-service"
LIFETIME_MINUTES = 60


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Who signs in, and for how many minutes; with less than none the token has expired."""

    user: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    minutes: Annotated[float, msgspec.Meta(ge=-1440, le=1440)] = LIFETIME_MINUTES


def object_id(user: str) -> str:
    """The user's object id in the tenant: one name has the same one for ever."""
    return str(uuid5(NAMESPACE_URL, f"https://localhost/users/{user}"))


class SignIn:
    """Signs in whoever says a name: there are no passwords on loopback."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def token(self, user: str, minutes: float = LIFETIME_MINUTES) -> str:
        """What a sign-in of this user gives their client: an Entra access token for the app."""
        return self._issuer.sign(
            AUDIENCE,
            minutes * 60,
            oid=object_id(user),
            sub=str(uuid5(NAMESPACE_URL, f"{AUDIENCE}/users/{user}")),
            name=user,
            preferred_username=f"{user}@localhost",
            scp="user_impersonation",
            ver="2.0",
        )

    def easy_auth(self) -> str:
        """How the Functions host stand-in tells these tokens from others."""
        document = {
            "issuer": self._issuer.url,
            "audience": AUDIENCE,
            "jwks": self._issuer.jwks(),
        }
        return msgspec.json.encode(document).decode()

    def control_routes(self) -> list[web.RouteDef]:
        """What the control endpoint offers about it: to sign in, and what to check tokens with."""
        return [web.post("/sign-in", self._sign_in), web.get("/sign-in", self._configuration)]

    async def _sign_in(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=Wanted)
        return web.json_response({"token": self.token(wanted.user, wanted.minutes)})

    async def _configuration(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.easy_auth(), content_type="application/json")
