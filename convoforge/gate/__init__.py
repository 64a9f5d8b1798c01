"""The one door to the API: how many requests may go, and when."""

from convoforge.gate.keys import fingerprint
from convoforge.gate.protocol import KINDS, SEND_WITHIN_SECONDS, Gate, GateStatus, Kind, Limits, Need, Slot
from convoforge.gate.window import WindowGate

__all__ = ["KINDS", "SEND_WITHIN_SECONDS", "Gate", "GateStatus", "Kind", "Limits", "Need", "Slot", "WindowGate", "fingerprint"]
