"""The app on a local Azure of its own, as the tests of the contract need it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.app import running_app
from local.azure import LocalAzure, Ports, local_azure
from local.workspace import Workspace

ANYWHERE = Ports(app=0, acs=0, identity=0, blob=0, queue=0, table=0)


@dataclass(frozen=True)
class World:
    """The app, and the Azure behind it."""

    app_url: str
    azure: LocalAzure

    def environment(self) -> dict[str, str]:
        """What a program needs to know in order to call the app."""
        return {
            **self.azure.environment(self.app_url),
            "APP_URL": self.app_url,
            "SIGN_IN_TOKEN": self.azure.sign_in.token("alice"),
        }


@contextlib.asynccontextmanager
async def running(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[World]:
    """Run it in this folder, on free ports, with these settings changed."""
    with Workspace(folder).locked() as workspace:
        async with (
            local_azure(workspace, ANYWHERE) as azure,
            running_app(azure, settings, 0, workspace.folder / "app.log") as app,
        ):
            yield World(app.url, azure)
