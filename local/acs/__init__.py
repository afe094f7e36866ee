"""The identity service of Azure Communication Services, on loopback. `README.md` tells the rest."""

from local.acs.control import CONTROL_HEADER, CONTROL_PREFIX
from local.acs.emulator import Emulator
from local.acs.teams import TeamsUser

__all__ = ["CONTROL_HEADER", "CONTROL_PREFIX", "Emulator", "TeamsUser"]
