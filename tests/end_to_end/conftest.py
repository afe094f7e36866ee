"""Microsoft's SDK as another client of the same ACS resource."""

from collections.abc import AsyncIterator

import pytest
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.pipeline.transport import AioHttpTransport

from tests.support.stack import Azure


@pytest.fixture
async def sdk(azure: Azure) -> AsyncIterator[CommunicationIdentityClient]:
    """Another client of the same ACS resource."""
    transport = AioHttpTransport(
        connection_verify=azure.env["SSL_CERT_FILE"], use_env_settings=False
    )
    async with CommunicationIdentityClient.from_connection_string(
        azure.env["ACS_CONNECTION_STRING"], transport=transport
    ) as client:
        yield client


@pytest.fixture
async def foreign_identity(sdk: CommunicationIdentityClient) -> str:
    """The id of an identity that another client created."""
    created = await sdk.create_user()
    return str(created.properties["id"])
