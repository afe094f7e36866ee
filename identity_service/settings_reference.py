"""What every setting means. docs/settings.md is made from this by `make docs`."""

from typing import NamedTuple

from identity_service import settings as names
from identity_service.contract import PROBLEMS


class Setting(NamedTuple):
    """One setting.

    Attributes:
        name: As in the environment.
        meaning: What it does, and what may stand there.
        default: What counts where it is absent or empty; None where nothing does.
    """

    name: str
    meaning: str
    default: str | None = None


class Chapter(NamedTuple):
    """Settings that belong together."""

    title: str
    settings: tuple[Setting, ...]


def _tokens(kind: str, callers: str, scopes: str, default: str, highest: str) -> Chapter:
    return Chapter(
        f"Tokens for {callers}",
        (
            Setting(
                f"{kind}_TOKEN_SCOPES",
                "The scopes that may be asked for, separated by spaces or commas.",
                scopes,
            ),
            Setting(
                f"{kind}_TOKEN_DEFAULT_MINUTES",
                "How long a token lives where the request does not say: 60 to 1440, and no more"
                " than the next one.",
                default,
            ),
            Setting(
                f"{kind}_TOKEN_MAX_MINUTES",
                "The longest that may be asked for: 60 to 1440.",
                highest,
            ),
        ),
    )


CHAPTERS = (
    Chapter(
        "Azure Communication Services",
        (
            Setting(
                names.ENDPOINT,
                "The ACS resource, `https://…`. Alone, the app's own identity is used: nothing"
                " secret is needed. One of this and the connection string must be there.",
            ),
            Setting(
                names.ACCESS_KEY,
                "A key of that resource, to be used instead of the identity.",
            ),
            Setting(
                names.CONNECTION_STRING,
                "Endpoint and key in one, instead of the two above.",
            ),
        ),
    ),
    Chapter(
        "The app's own identity",
        (
            Setting(
                "AZURE_TOKEN_CREDENTIALS",
                "`ManagedIdentityCredential` in Azure; left out on a laptop, `az login` serves.",
            ),
            Setting(
                "AZURE_CLIENT_ID",
                "The user-assigned identity to use; left out, the system-assigned one.",
            ),
        ),
    ),
    Chapter(
        "Storage",
        (
            Setting(
                f"{names.STORAGE}__accountName",
                "The storage account of the app, where the registry's table is too.",
            ),
            Setting(
                f"{names.STORAGE}__tableServiceUri",
                "The address of its tables, where the name does not tell it.",
            ),
            Setting(f"{names.STORAGE}__blobServiceUri", "The same for the host's blobs."),
            Setting(f"{names.STORAGE}__queueServiceUri", "The same for the host's queues."),
            Setting(f"{names.STORAGE}__credential", "`managedidentity`."),
            Setting(
                f"{names.STORAGE}__clientId",
                "The user-assigned identity for storage, where it is another one.",
            ),
            Setting(
                names.STORAGE,
                "A connection string with a key, instead of the six above. It wins over them.",
            ),
        ),
    ),
    Chapter(
        "Deletion",
        (
            Setting(
                names.RETENTION,
                "For how many days a deleted identity can be restored: 0 to 90. 0 means until the"
                " next sweep.",
                "7",
            ),
            Setting(names.PURGE_PROTECTION, "`true` forbids to purge ahead of time.", "false"),
        ),
    ),
    Chapter(
        "The sweep",
        (
            Setting(
                names.SCHEDULE,
                "When it runs, six fields, UTC: `0 */5 * * * *` for every five minutes. It must be"
                " there: without it nothing would ever be purged.",
            ),
            Setting(
                names.PACE,
                "Its pace, in calls that change ACS per 30 seconds: 1 to 500, of the 500 that ACS"
                " takes.",
                "400",
            ),
            Setting(
                names.TIME_BUDGET,
                "After so many seconds it starts nothing new: 10 to 3600. Less than the app's"
                " `functionTimeout`.",
                "240",
            ),
            Setting(
                names.MAX_ATTEMPTS,
                "After so many failures in a row an entry is stuck: tried daily, and listed by"
                " `GET deleted-identities?stuck=true`. 1 to 1000.",
                "10",
            ),
        ),
    ),
    _tokens("USER", "signed-in users", "chat voip", "60", "240"),
    _tokens(
        "SERVICE", "services", "chat chat.join chat.join.limited voip voip.join", "1440", "1440"
    ),
    Chapter(
        "Callers",
        (
            Setting(
                names.REGISTERED_ONLY,
                "`true` refuses identities that the registry does not know, with 404.",
                "false",
            ),
            Setting(
                names.TEAMS_APP,
                "The Entra application for which signed-in users may exchange their Teams tokens;"
                " left out, none.",
            ),
            Setting(
                names.PROBLEM_BASE,
                "Where you publish [problems.md](problems.md), without a fragment: the `type` of a"
                " problem is this, `#` and its code.",
                PROBLEMS,
            ),
        ),
    ),
    Chapter(
        "The network",
        (
            Setting(
                names.PROXY,
                "The proxy that leads to Azure, `http://…` or `https://…`, where the network has no"
                " other way. In lower case too, which wins.",
            ),
            Setting(
                names.NO_PROXY,
                "Hosts that are reached without it, separated by commas; `*` for all.",
            ),
        ),
    ),
    Chapter(
        "The platform's own",
        (
            Setting("FUNCTIONS_WORKER_RUNTIME", "`python`: which worker the host starts."),
            Setting(
                names.SIGN_IN,
                "Set by App Service Authentication where it is on, and by nobody else: whether"
                " signed-in users are believed.",
            ),
            Setting(
                names.TELEMETRY,
                "`true` switches OpenTelemetry on in the worker: traces, and metrics of this app."
                " It costs a fresh worker more time; nothing of it is imported otherwise.",
                "false",
            ),
            Setting(
                "AzureFunctionsJobHost__telemetryMode",
                "`OpenTelemetry` together with the one above: the same for the host.",
            ),
            Setting(
                "APPLICATIONINSIGHTS_CONNECTION_STRING",
                "Where Application Insights is. With local authentication off it opens nothing.",
            ),
            Setting(
                "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
                "`Authorization=AAD;ClientId=…`: as which identity the host and the worker write"
                " there.",
            ),
        ),
    ),
)

SETTINGS = tuple(setting for chapter in CHAPTERS for setting in chapter.settings)


def page() -> str:
    """docs/settings.md."""
    chapters = (
        f"## {chapter.title}\n\n| setting | default | meaning |\n|---|---|---|\n"
        + "".join(_row(setting) for setting in chapter.settings)
        for chapter in CHAPTERS
    )
    return "\n".join([_INTRODUCTION, *chapters])


_INTRODUCTION = """\
# Settings

All of the app's settings: environment variables, which in Azure are the function app's application
settings. An empty one counts as not set. Faults are reported all together, in the app's log, each
with its remedy and never with a value; until they are mended every call is answered 503
[`not_configured`](problems.md#not_configured).

`make docs` makes this page from `identity_service/settings_reference.py`.
"""


def _row(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    return f"| `{setting.name}` | {default} | {setting.meaning} |\n"
