"""The operations' source, changed so that it breaks a rule."""

from tests.exploration.variant import Change

_MINT = "    token = await acs.issue_token(identity_id, scopes, minutes)  # 1\n"
_READ = "    row = await registry.read(identity_id)  # 2\n"
READ_FIRST = (Change("minting", _MINT + _READ, _READ + _MINT),)
READ_OR_NOT = (
    Change(
        "minting",
        _READ,
        "    try:\n    " + _READ + "    except Exception:\n        row = None\n",
    ),
)

ANSWER_UNREVOKED = (
    Change("delete_identity", "is State.DELETED and row.revoked:", "is State.DELETED:"),
)
_RECORD = "        return Deletion.of(await record_revocation(marked, registry))  # 4, 5\n"
WRITE_YES_ONLY = (
    Change(
        "delete_identity",
        _RECORD,
        "        try:\n    " + _RECORD + "        except Exception:\n"
        "            marked = await registry.read(identity_id)\n"
        "            if marked is None or marked.state is not State.DELETED:\n"
        "                return Deletion.of(mine)\n    " + _RECORD,
    ),
)

BORN_ACTIVE = (
    Change("creation", "state=State.CREATING,", "state=State.ACTIVE,"),
    Change("creation", "            due=now + LEASE,\n", ""),
)
_INSERT = "        row = await self._record(identity_id, user_id)  # 2\n"
_CLAIM = """\
        if user_id is not None and not await self._claim(claim, user_id, identity_id):  # 2½
            return await self._lost(row, user_id)
"""
CLAIM_FIRST = (
    Change(
        "creation",
        _INSERT + _CLAIM,
        _CLAIM.replace("(row, ", "(await self._record(identity_id, user_id), ") + _INSERT,
    ),
)
NOT_GIVEN_BACK = (Change("creation", "            await self._give_back(identity_id)\n", ""),)
DANGLING_IS_BUSY = (
    Change(
        "creation",
        "            if row is None:\n                return False\n",
        "            if row is None:\n                break\n",
    ),
)

NO_CLAIM = (
    Change(
        "steps",
        "    return await registry.update(row, row.but(state=State.PURGING, due=due))\n",
        "    return row\n",
    ),
)
_RELEASE, _REMOVE = "    await release_user(row, registry)\n", "    await registry.remove(row)\n"
ROW_FIRST = (Change("steps", _RELEASE + _REMOVE, _REMOVE + _RELEASE),)
ANY_CLAIM = (Change("steps", "if claim and claim.identity_id == row.id:", "if claim:"),)
PHANTOM_STAYS = (Change("steps", "        if row.adopted:\n", "        if False:\n"),)
RESTORE_UNREVOKED = (Change("restore_identity", "if not row.revoked:", "if False:"),)

REMOVED_OR_NOT = (
    Change(
        "steps",
        _RELEASE + _REMOVE,
        _RELEASE
        + "    try:\n    "
        + _REMOVE
        + "    except Exception:\n        _ = 'somebody else did'\n",
    ),
)
PURGED_OR_NOT = (
    Change(
        "purge_identity",
        '            raise IdentityNotDeleted("Delete it first: DELETE identities/{id}.")\n',
        "            return\n",
    ),
)
