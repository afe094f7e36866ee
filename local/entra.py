"""A Microsoft Entra tenant on loopback: it signs tokens, for users and for applications."""

import secrets
import time
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args
from uuid import NAMESPACE_URL, uuid4, uuid5

import jwt
import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ACS_AUDIENCE = "https://communication.azure.com"
STORAGE_AUDIENCE = "https://storage.azure.com"
# The audience of the Entra tokens that ACS exchanges for a Teams user's access token.
# Source: https://learn.microsoft.com/azure/communication-services/quickstarts/manage-teams-identity
TEAMS_AUDIENCE = "https://auth.msft.communication.azure.com"
# The app's own registration in the tenant: its client id, which is the audience of its version 2
# tokens, and the URI by which clients request them.
# Source: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
APP_AUDIENCE = str(uuid5(NAMESPACE_URL, "https://localhost/acs-identity-service"))
APP_ID_URI = f"api://{APP_AUDIENCE}"
# The app roles of the registration. Only applications can have them.
Role = Literal[
    "Identities.Read",
    "Identities.Manage",
    "Identities.Purge",
    "Tokens.Issue",
    "TeamsAccess.Manage",
]
ROLES: tuple[str, ...] = get_args(Role)
SIGN_IN_MINUTES = 60
_VERSION_2 = "2.0"


class Issuer:
    """Signs RS256 JWTs as one tenant, with a key that lives as long as the object."""

    def __init__(self) -> None:
        self.tenant = str(uuid4())
        self.url = f"https://sts.windows.net/{self.tenant}/"
        self.version_2_url = f"https://login.microsoftonline.com/{self.tenant}/v2.0"
        self._key_id = secrets.token_hex(8)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, audience: str, lifetime: float, **claims: object) -> str:
        """A token for `audience` that expires in `lifetime` seconds, or has expired if negative.

        As in Entra, a token of version 2 (`ver`) has another issuer than one of version 1.
        """
        now = int(time.time())
        payload: dict[str, Any] = {
            "aud": audience,
            "iss": self.version_2_url if claims.get("ver") == _VERSION_2 else self.url,
            "tid": self.tenant,
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime),
            **claims,
        }
        return jwt.encode(payload, self._key, algorithm="RS256", headers={"kid": self._key_id})

    def jwks(self) -> dict[str, Any]:
        """The public key, in the form in which a tenant publishes its keys."""
        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": "RS256"}]}

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a token that this tenant signed for `audience`.

        Raises:
            jwt.InvalidTokenError: the signature, audience, issuer or time is not valid.
        """
        return jwt.decode(
            token,
            self._key.public_key(),
            algorithms=["RS256"],
            audience=audience,
            issuer=[self.url, self.version_2_url],
            options={"require": ["exp", "nbf", "aud", "iss"]},
        )


# Minutes; a negative lifetime makes an expired token.
_Minutes = Annotated[float, msgspec.Meta(ge=-1440, le=1440)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class SignInRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The user, and the lifetime of the token."""

    user: _Name
    minutes: _Minutes = SIGN_IN_MINUTES


class ApplicationTokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The application, the roles that it has been assigned, and the lifetime of the token."""

    app: _Name
    roles: list[Role] = []
    minutes: _Minutes = SIGN_IN_MINUTES


def object_id(user: str) -> str:
    """The user's object id in the tenant, which never changes for a name."""
    return str(uuid5(NAMESPACE_URL, f"https://localhost/users/{user}"))


def application_id(name: str) -> str:
    """The application's client id in the tenant, which never changes for a name."""
    return str(uuid5(NAMESPACE_URL, f"https://localhost/applications/{name}"))


def service_principal_id(name: str) -> str:
    """The object id of the application's service principal, which never changes for a name."""
    return str(uuid5(NAMESPACE_URL, f"https://localhost/service-principals/{name}"))


class SignIn:
    """Issues tokens for the app: to any user name and any application name, without a password."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def token(self, user: str, minutes: float = SIGN_IN_MINUTES) -> str:
        """The user's Entra access token for the app, as a client gets it from a sign-in."""
        return self._issuer.sign(
            APP_AUDIENCE,
            minutes * 60,
            oid=object_id(user),
            sub=str(uuid5(NAMESPACE_URL, f"{APP_AUDIENCE}/users/{user}")),
            name=user,
            preferred_username=f"{user}@localhost",
            azp=application_id("a client app"),
            scp="user_impersonation",
            ver=_VERSION_2,
        )

    def application_token(
        self, name: str, roles: Iterable[str], minutes: float = SIGN_IN_MINUTES
    ) -> str:
        """The application's Entra access token for the app, from its own credentials.

        Without an assigned role, the token has no claim for roles.
        """
        assigned = list(dict.fromkeys(roles))
        principal = service_principal_id(name)
        return self._issuer.sign(
            APP_AUDIENCE,
            minutes * 60,
            oid=principal,
            sub=principal,
            azp=application_id(name),
            idtyp="app",
            ver=_VERSION_2,
            **({"roles": assigned} if assigned else {}),
        )

    def easy_auth(self) -> str:
        """The front end's configuration for these tokens: a value for LOCAL_HOST_EASY_AUTH."""
        document = {
            "issuer": self._issuer.version_2_url,
            "audience": APP_AUDIENCE,
            "jwks": self._issuer.jwks(),
        }
        return msgspec.json.encode(document).decode()

    def control_routes(self) -> list[web.RouteDef]:
        """Routes for the control endpoint: get tokens, and read the front end's configuration."""
        return [
            web.post("/sign-in", self._sign_in),
            web.post("/app-token", self._application_token),
            web.get("/sign-in", self._configuration),
        ]

    async def _sign_in(self, request: web.Request) -> web.Response:
        received = msgspec.json.decode(await request.read(), type=SignInRequest)
        return web.json_response({"token": self.token(received.user, received.minutes)})

    async def _application_token(self, request: web.Request) -> web.Response:
        received = msgspec.json.decode(await request.read(), type=ApplicationTokenRequest)
        token = self.application_token(received.app, received.roles, received.minutes)
        return web.json_response({"token": token})

    async def _configuration(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.easy_auth(), content_type="application/json")
