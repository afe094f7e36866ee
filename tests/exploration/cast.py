"""The operations by what the scenarios call them, on one stage."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from msgspec import UNSET

import identity_service.operations
from identity_service.model import CleanupPolicy, DeletionPolicy, TokenRequest
from identity_service.operations.create_identity import CreateIdentity
from identity_service.operations.create_identity_with_token import CreateIdentityWithToken
from tests.exploration.decisions import RETENTION
from tests.exploration.performance import Answer, Performance, begin
from tests.exploration.stage import GatedRegistry, Stage, World
from tests.exploration.stand import Actor

USER = "somebody"
UNKNOWN = "identity-unknown"

Act = Callable[[], Coroutine[Any, Any, Any]]


class Product(NamedTuple):
    """What is explored: the operations, and how the registry writes."""

    operations: Any = identity_service.operations
    registry: type[GatedRegistry] = GatedRegistry


class Cast:
    """Who can perform what, on one stage.

    Attributes:
        identity_id: The identity that all is about.
    """

    def __init__(self, product: Product) -> None:
        self.stage = Stage(product.registry)
        self.identity_id = UNKNOWN
        self._operations = product.operations
        self._acts: dict[str, Act] = {
            "create": lambda: self._create(CreateIdentity()),
            "create for user": lambda: self._create(CreateIdentity(user_id=USER)),
            "create with token": lambda: self._create_with_token(UNSET),
            "create with token for user": lambda: self._create_with_token(USER),
            "issue": self._issue,
            "delete": self._delete,
            "restore": self._restore,
            "purge": self._purge,
            "sweep": self._sweep,
        }

    def actor(self, name: str, number: int, title: str) -> Actor:
        """Somebody who is to perform the operation of that title."""
        return Actor(name, number, title, self._acts[title], self.stage.set_clock)

    def play(self, actor: Actor, world: World, until: str = "") -> tuple[World, Answer | None]:
        """The world after the operation, performed alone, or up to its call of that name."""
        self.stage.set_clock(world.now)
        performance = Performance(actor.name, actor.number, actor.act)
        while performance.waiting:
            call = next(iter(performance.waiting.values()))
            if call.name == until:
                break
            world, answer = self.stage.take(call, world)
            performance.hear(call.id, answer)
        return world, performance.outcome

    def _create(self, body: CreateIdentity) -> Coroutine[Any, Any, Any]:
        return self._start("create_identity", body, *self._services())

    def _create_with_token(self, user_id: Any) -> Coroutine[Any, Any, Any]:
        body = CreateIdentityWithToken(scopes=["chat"], user_id=user_id)
        return self._start("create_identity_with_token", body, *self._services())

    def _issue(self) -> Coroutine[Any, Any, Any]:
        body = TokenRequest(scopes=["chat"])
        services = self.stage.acs, self.stage.registry
        return self._start("issue_token", self.identity_id, body, *services)

    def _delete(self) -> Coroutine[Any, Any, Any]:
        policy = DeletionPolicy(RETENTION)
        return self._start("delete_identity", self.identity_id, *self._services(), policy)

    def _restore(self) -> Coroutine[Any, Any, Any]:
        services = self.stage.acs, self.stage.registry
        return self._start("restore_identity", self.identity_id, *services)

    def _purge(self) -> Coroutine[Any, Any, Any]:
        policy = DeletionPolicy(RETENTION)
        return self._start("purge_identity", self.identity_id, *self._services(), policy)

    async def _sweep(self) -> Any:
        await begin()
        return await self._start("purge_deleted_identities", *self._services(), CleanupPolicy())

    def _services(self) -> tuple[object, object, object]:
        return self.stage.acs, self.stage.registry, self.stage.clock

    def _start(self, operation: str, *arguments: object) -> Coroutine[Any, Any, Any]:
        started: Coroutine[Any, Any, Any] = getattr(self._operations, operation)(*arguments)
        return started
