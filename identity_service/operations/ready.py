"""Tell whether everything that the service needs answers."""

from identity_service.readiness import NotReady, Readiness, Ready


async def ready(readiness: Readiness) -> Ready | NotReady:
    """Whether ACS and the registry answer, and how late the sweep is."""
    return await readiness.look()
