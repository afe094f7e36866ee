"""An emulator of the Azure Communication Services identity service. See README.md."""

from local.acs.control import CONTROL_HEADER, CONTROL_PREFIX
from local.acs.server import Emulator
from local.acs.teams import TeamsUser

__all__ = ["CONTROL_HEADER", "CONTROL_PREFIX", "Emulator", "TeamsUser"]
