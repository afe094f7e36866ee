"""Both releases on one table: upgrades in place, and roll-backs.

`release_1.zip` has the modules of release 1, the last one that cannot read every row which this
release writes. It was made with

    git archive --format=zip --output=tests/upgrade/release_1.zip e47e978 identity_service

It runs in a process of its own, because its modules have the names of ours. Both releases use one
table of Azurite and one ACS in memory. They ask the test before each of their calls, so that a test
can let one release act between two steps of the other.
"""
