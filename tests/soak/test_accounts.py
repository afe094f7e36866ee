"""How the soak accounts for identities."""

from bench.soak.accounts import account_for

LOG = """
 INFO identity_created identity_id=8:acs:kept invocation_id=1
 INFO operation_finished operation=create_identity status=201 identity_id=8:acs:kept invocation_id=1
 INFO identity_created identity_id=8:acs:killed invocation_id=2
 ERROR identity_lost identity_id=8:acs:lost code=acs_unavailable invocation_id=3
 INFO identity_created identity_id=8:acs:lost invocation_id=3
 INFO operation_finished operation=create_identity status=503 identity_id=- invocation_id=3
 INFO identity_created identity_id=8:acs:forgotten invocation_id=4
 INFO operation_finished operation=create_identity status=201 identity_id=- invocation_id=4
 INFO identity_created identity_id=8:acs:late invocation_id=5
 WARNING operation_finished_late outcome=none invocation_id=5
 INFO sweep_finished due=3 revoked=0 purged=2 deferred=1 stuck=0 invocation_id=6
 INFO sweep_finished due=1 revoked=0 purged=1 deferred=0 stuck=0 invocation_id=7
"""


def test_every_identity_is_accounted_for() -> None:
    """By the log of the worker that made it."""
    names = ("kept", "killed", "lost", "forgotten", "late", "untold")
    in_acs = {f"8:acs:{name}" for name in names}

    accounts = account_for(in_acs, {"8:acs:kept", "8:acs:phantom"}, [LOG])

    assert accounts.in_both == {"8:acs:kept"}
    assert accounts.only_in_registry == {"8:acs:phantom"}
    assert accounts.never_told == {"8:acs:untold"}
    assert accounts.cut_short == {"8:acs:killed"}
    assert accounts.given_up == {"8:acs:lost"}
    assert accounts.unexplained == {"8:acs:forgotten", "8:acs:late"}
    assert accounts.lost == 3


def test_what_the_sweeps_purged_is_counted() -> None:
    """Of all workers."""
    assert account_for(set(), set(), [LOG, LOG]).swept == 6
