"""Work on many identities: import, export, changes to each. It can be killed at any moment.

The results are appended to a journal beside the input, each after the app has answered. Repeating a
request is harmless, so whatever has no result is simply sent again.
"""

import contextlib
import io
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self

from acsid.client import Answer, Client
from acsid.failures import Exit, Failure, plain_errors, usage
from acsid.records import IdentityRecord, R, Record, RecordFile

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, do not run the same import twice at once
    fcntl = None  # type: ignore[assignment]

# Records in one request of an import: the most that the app accepts.
BATCH = 100
# Requests of a bulk delete or restore that are on their way at the same time.
_AT_ONCE = 4
# Seconds between two attempts without any progress.
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 30.0
# Seconds between two writes to the disk itself. They protect against a power failure, not a kill.
_SYNC_INTERVAL = 1.0
_OWNER_ONLY = 0o600

# Results of a record that say nothing about the record: it is sent again.
_NOT_FINAL = {
    "not_attempted",
    "throttled",
    "identity_busy",
    "overloaded",
    "not_configured",
    "internal_error",
    "acs_refused_us",
    "acs_unavailable",
    "acs_too_slow",
    "registry_unavailable",
    "identity_not_readable",
}
# A failure to try again that is about the identity itself: the others can go on.
_OF_ONE_IDENTITY = {"wrong_resource"}
# These were not looked at, so they come first in the next request.
_NOT_REACHED = {"not_attempted", "throttled"}
# Results that are as they should be. The last three are left out because the operator wants it so.
GOOD = {
    "registered",
    "unchanged",
    "deleted",
    "restored",
    "suspended",
    "resumed",
    "assigned",
    "replaced",
    "removed",
    "imported",
    "not_deleted",
    "deleted_by_user",
    "deleted_by_service",
}


@dataclass(frozen=True, slots=True)
class Numbered(Generic[R]):
    """A record, and its number among all good records of the file."""

    number: int
    record: R


Result = tuple[Numbered[Any], str, Mapping[str, Any]]


def started(file: Path, work: str) -> datetime:
    """Return when the work on a file was begun: now, if there is no journal of it."""
    with (
        contextlib.suppress(OSError, ValueError, KeyError, TypeError),
        _journal_path(file, work).open("rb") as journal,
    ):
        return datetime.fromisoformat(json.loads(journal.readline())["started"]).astimezone(UTC)
    return datetime.now(UTC)


def _journal_path(file: Path, work: str) -> Path:
    return file.with_name(f"{file.name}.acsid-{work}.jsonl")


class Journal:
    """The results so far of one piece of work, in a file beside the input.

    The first line says what the work is. Every other line has the result of one record.

    Args:
        deleted_by: The filter of the work, if it has one.

    Raises:
        Failure: the file belongs to other work, is in use, or cannot be read or written.
    """

    def __init__(
        self, reader: RecordFile[Any], work: str, url: str, deleted_by: str | None = None
    ) -> None:
        summary = reader.summary
        self.path = _journal_path(reader.path, work)
        self.report = reader.path.with_name(f"{reader.path.name}.acsid-{work}-report.jsonl")
        self.results: Counter[str] = Counter()
        self._done = bytearray(summary.count)
        self._synced = time.monotonic()
        header = {
            "acsid": 1,
            "work": work,
            "url": url,
            "records": summary.count,
            "sha256": summary.digest,
            **({"deletedBy": deleted_by} if deleted_by else {}),
            **({"started": reader.started.isoformat()} if reader.started else {}),
        }
        if self.report.is_dir():
            raise usage(f"{self.report} is a folder, so the report could not be written.")
        # Nothing was sent yet.
        with plain_errors(self.path, Exit.USAGE), contextlib.ExitStack() as opened:
            self._file = opened.enter_context(self._open())
            if not self._resume(self._complete_lines(), header):
                self._append([header])
            opened.pop_all()

    def _open(self) -> io.BufferedRandom:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        file = os.fdopen(os.open(self.path, flags, _OWNER_ONLY), "r+b")
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                raise usage(f"Another acsid is working on it: {self.path} is in use.") from None
            os.fchmod(file.fileno(), _OWNER_ONLY)
        return file

    def _complete_lines(self) -> Iterator[bytes]:
        """Read the lines, and cut off a last one that was not written to its end."""
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(end)
                return
            end += len(line)
            yield line

    def _resume(self, lines: Iterator[bytes], header: Mapping[str, Any]) -> bool:
        """Count the results of an earlier run. Returns whether there was one."""
        try:
            first = next(lines, None)
            if first is None:
                return False
            if json.loads(first) != header:
                raise usage(
                    f"{self.path} belongs to another run: with another file, other options,"
                    " or another app.",
                    f"Finish that run, or delete {self.path} to start from the beginning.",
                    code="other_run",
                )
            for line in lines:
                result = json.loads(line)
                self._count(int(result["n"]), str(result["result"]))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise usage(
                f"{self.path} is damaged.",
                "Delete it and start again: repeating finished records changes nothing.",
                code="journal_damaged",
            ) from error
        return True

    def _count(self, number: int, result: str) -> None:
        if not self._done[number]:
            self._done[number] = 1
            self.results[result] += 1

    def is_done(self, number: int) -> bool:
        """Whether the record has a result."""
        return bool(self._done[number])

    @property
    def done(self) -> int:
        """How many records have a result."""
        return self.results.total()

    @property
    def left(self) -> int:
        """How many records have none."""
        return len(self._done) - self.done

    def add(self, results: list[Result]) -> None:
        """Append results that the app has sent.

        Raises:
            Failure: they cannot be written.
        """
        lines = []
        for numbered, result, details in results:
            record = numbered.record
            line = {"n": numbered.number, "line": record.line, "id": record.id, "result": result}
            lines.append({**line, **details})
        with plain_errors(self.path):
            self._append(lines)
        for numbered, result, _ in results:
            self._count(numbered.number, result)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        left = "".join(json.dumps(line) + "\n" for line in lines).encode()
        number = self._file.fileno()
        end = os.fstat(number).st_size
        try:
            while left:
                left = left[os.write(number, left) :]
        except OSError:
            os.ftruncate(number, end)  # the next line would join a part of this one
            raise
        if time.monotonic() - self._synced > _SYNC_INTERVAL:
            os.fsync(number)
            self._synced = time.monotonic()

    def finish(self) -> None:
        """Rename the file to the report, now that every record has a result."""
        with plain_errors(self.path):
            os.fsync(self._file.fileno())
            self.close()  # Windows cannot rename an open file
        with plain_errors(self.report):
            self.path.replace(self.report)

    def discard(self) -> None:
        """Remove the file, if nothing has been done yet."""
        if not self.done:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Advance = Callable[[int], None]


@dataclass(frozen=True)
class Import(Generic[R]):
    """An operation of the app that takes up to 100 records and returns a result for each.

    Attributes:
        path: What follows `/api/`.
        field: The field of the body with the records.
        body: What is sent for a record.
        names: The fields that name a record, in what is sent and in its result.
    """

    path: str
    field: str
    body: Callable[[R], dict[str, Any]]
    names: tuple[str, ...]

    def named(self, content: Mapping[str, Any]) -> list[object]:
        """Return what names a record."""
        return [content.get(name) for name in self.names]


class Importer(Generic[R]):
    """Sends the records of a file to an import, up to 100 in each request."""

    def __init__(
        self, client: Client, journal: Journal, advance: Advance, operation: Import[R]
    ) -> None:
        self._client = client
        self._journal = journal
        self._advance = advance
        self._operation = operation
        self._delay = _FIRST_DELAY
        self._last_progress = time.monotonic()

    def run(self, records: Iterator[Numbered[R]]) -> None:
        """Send everything that has no result yet.

        Raises:
            Failure: the app does not respond, or makes no progress for too long.
        """
        first: deque[Numbered[R]] = deque()
        later: deque[Numbered[R]] = deque()
        while batch := _batch(first, records) or _batch(later, iter(())):
            results = self._send(batch)
            final = [result for result in results if result[1] not in _NOT_FINAL]
            if final:
                self._journal.add(final)
                self._advance(len(final))
            for numbered, result, _ in reversed(results):
                if result in _NOT_REACHED:
                    first.appendleft(numbered)
                elif result in _NOT_FINAL:
                    later.append(numbered)
            self._pause(results, len(final))

    def _send(self, batch: list[Numbered[R]]) -> list[Result]:
        operation = self._operation
        sent = [operation.body(each.record) for each in batch]
        content = self._client.call("POST", operation.path, {operation.field: sent}).content
        results = content.get("results")
        if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
            results = []
        if [operation.named(each) for each in results] != [operation.named(each) for each in sent]:
            raise Failure(
                Exit.REFUSED, "not_the_app", "The results are not those of the records sent."
            )
        return [
            (numbered, str(result.get("result")), _details(result))
            for numbered, result in zip(batch, results, strict=True)
        ]

    def _pause(self, results: list[Result], final: int) -> None:
        """Wait while the app registers little, and give up when it registers nothing for long."""
        if final:
            self._delay, self._last_progress = _FIRST_DELAY, time.monotonic()
        if final * 2 >= len(results):
            return
        [(code, _)] = Counter(result for _, result, _ in results).most_common(1)
        if time.monotonic() - self._last_progress > self._client.patience:
            raise Failure(Exit.NO_ANSWER, code, f"The app makes no progress: {code}.")
        self._client.wait(self._delay, code)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)


def _batch(first: deque[Numbered[R]], records: Iterator[Numbered[R]]) -> list[Numbered[R]]:
    batch: list[Numbered[R]] = []
    while len(batch) < BATCH:
        record = first.popleft() if first else next(records, None)
        if record is None:
            break
        batch.append(record)
    return batch


def _imported(record: IdentityRecord) -> dict[str, str]:
    return {"id": record.id, "userId": record.user} if record.user else {"id": record.id}


IMPORT = Import("identities/import", "identities", _imported, ("id",))


def _details(result: Mapping[str, Any]) -> dict[str, Any]:
    names = ("detail", "field", "identityId", "state")
    return {name: result[name] for name in names if result.get(name)}


def unfinished(reader: RecordFile[R], journal: Journal) -> Iterator[Numbered[R]]:
    """Read the records that have no result yet.

    Raises:
        Failure: the file has changed since it was checked.
    """
    expected = reader.summary.digest
    for number, record in enumerate(reader.records()):
        if number >= journal.done + journal.left:
            break
        if not journal.is_done(number):
            yield Numbered(number, record)
    else:
        if reader.summary.digest == expected:
            return
    raise Failure(Exit.REFUSED, "file_changed", f"{reader.path} has changed meanwhile.")


# The result of a change to one record, and what the app says about it.
Change = tuple[str, Mapping[str, Any]]


class Seen(NamedTuple):
    """What the registry says about an identity.

    Attributes:
        deleted_by: `user` or `service`, if it is deleted. An older app does not say it.
    """

    state: str
    deleted_by: str | None = None
    deleted_on: str | None = None

    def __str__(self) -> str:
        return f"{self.state} by a {self.deleted_by}" if self.deleted_by else self.state

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """Return what an answer of the app says."""
        return cls(str(item.get("state", "")), item.get("deletedBy"), item.get("deletedOn"))


@dataclass(frozen=True)
class Kind:
    """A change that can be made to one identity, or to every identity in a file.

    Attributes:
        result: The result of a success.
        method: The method of its request.
        path: What follows `/api/`. `ID` stands for the id of the identity.
        asks: Whether it asks before it changes a single identity.
        deleted_by: Of the deleted identities in a file, only those that a `service` or a `user`
            has deleted are changed. Without it, all are.
    """

    name: str
    result: str
    method: str
    path: str
    asks: bool = False
    deleted_by: str | None = None

    def chooses(self, seen: Seen | None) -> bool:
        """Whether it is deleted, and the operator wants back what this actor has deleted."""
        return seen is not None and seen.state == "deleted" and seen.deleted_by == self.deleted_by

    def leaves_out(self, seen: Seen | None) -> bool:
        """Whether it is deleted, but by somebody else."""
        return seen is not None and seen.state == "deleted" and seen.deleted_by != self.deleted_by

    def act(self, client: Client, identity_id: str) -> Answer:
        """Change one identity.

        Raises:
            Failure: the app refused it, or did not respond in time.
        """
        return client.call(self.method, self.path.replace("ID", identity_id))

    def apply(self, client: Client, record: Record) -> Change:
        """Change an identity of a file.

        Raises:
            Failure: as for `act`.
        """
        # Looked up again for each: since the operator was asked, it may have been restored,
        # and deleted by its user.
        found = deleted(client, record.id) if self.deleted_by else None
        if found and self.leaves_out(found):
            return f"deleted_by_{found.deleted_by or 'unknown'}", {}
        if self.deleted_by and not found:
            # A restore would also undo a deletion by its user that comes before it.
            client.call("GET", f"identities/{record.id}")  # fails if it is unknown
            return "not_deleted", {}
        return self.result, self.act(client, record.id).content


DELETE = Kind("delete", "deleted", "DELETE", "identities/ID", asks=True)
RESTORE = Kind("restore", "restored", "POST", "deleted-identities/ID/restore")
SUSPEND = Kind("suspend", "suspended", "POST", "identities/ID/suspend", asks=True)
RESUME = Kind("resume", "resumed", "POST", "identities/ID/resume")


class Bulk(Generic[R]):
    """Makes a change to each record of a file, a few at the same time."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        advance: Advance,
        apply: Callable[[Client, R], Change],
    ) -> None:
        self._client = client
        self._journal = journal
        self._advance = advance
        self._apply = apply
        self._waiting: set[Future[Result]] = set()

    def run(self, records: Iterator[Numbered[R]]) -> None:
        """Do it for everything that has no result yet.

        Raises:
            Failure: the app does not respond, or does not accept the key.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for numbered in records:
                    self._waiting.add(pool.submit(self._one, numbered))
                    if len(self._waiting) >= _AT_ONCE:
                        self._collect()
                while self._waiting:
                    self._collect()
            except BaseException:
                # What is on its way gets its result; what waits for another attempt ends at once.
                self._client.stop()
                for future in self._waiting:
                    with contextlib.suppress(Failure):
                        self._journal.add([future.result()])
                raise

    def _one(self, numbered: Numbered[R]) -> Result:
        try:
            result, content = self._apply(self._client, numbered.record)
        except Failure as failure:
            if failure.code not in _OF_ONE_IDENTITY and (
                failure.exit_code not in (Exit.REFUSED, Exit.NOT_FOUND) or not failure.problem
            ):
                raise
            return numbered, failure.code, _details(failure.problem)
        return numbered, result, _details(content)

    def _collect(self) -> None:
        finished, self._waiting = wait(self._waiting, return_when=FIRST_COMPLETED)
        failures = [future for future in finished if future.exception()]
        results = [future.result() for future in finished if not future.exception()]
        if results:
            self._journal.add(results)
            self._advance(len(results))
        for future in failures:
            future.result()


def seen(client: Client, ids: Collection[str], few: int = BATCH) -> dict[str, Seen]:
    """Return what the registry says about those of the identities that it knows.

    A few are read one by one. For many, reading the lists takes fewer requests.

    Raises:
        Failure: the app does not respond.
    """
    if len(ids) <= few:
        found = ((one, _seen(client, one)) for one in ids)
        return {one: each for one, each in found if each}
    return {
        item["id"]: Seen.of(item)
        for page in all_identities(client)
        for item in page
        if item["id"] in ids
    }


def _seen(client: Client, identity_id: str) -> Seen | None:
    return _known(client, f"identities/{identity_id}") or deleted(client, identity_id)


def deleted(client: Client, identity_id: str) -> Seen | None:
    """Return what the registry says about a deleted identity. None if it has no such.

    Raises:
        Failure: the app does not respond.
    """
    return _known(client, f"deleted-identities/{identity_id}")


def _known(client: Client, path: str) -> Seen | None:
    found = client.find(path)
    return None if found is None else Seen.of(found)


def all_identities(client: Client) -> Iterator[list[dict[str, Any]]]:
    """Read every identity in every state, page by page.

    Raises:
        Failure: the app does not respond.
    """
    yield from client.pages("identities", {"state": "any"})
