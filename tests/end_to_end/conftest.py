"""An identity of the same ACS resource that another client created."""

import pytest
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.pipeline.transport import AioHttpTransport

from tests.support.stack import Azure


@pytest.fixture
async def foreign_identity(azure: Azure) -> str:
    """The id of an identity that Microsoft's SDK created."""
    transport = AioHttpTransport(
        connection_verify=azure.env["SSL_CERT_FILE"], use_env_settings=False
    )
    async with CommunicationIdentityClient.from_connection_string(
        azure.env["ACS_CONNECTION_STRING"], transport=transport
    ) as sdk:
        return str((await sdk.create_user()).properties["id"])
