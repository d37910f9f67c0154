"""A faithful pretend Avala API: its data, limits and errors, faults on demand, and a ledger of what it did.

It imports nothing from the rest of `proxy`: a misreading of the API shared by both would test as agreement.
Read `api.py` first.
"""

from proxy.sandbox.faults import Fault, parse_fault, parse_fault_rates
from proxy.sandbox.ledger import Entry, Ledger
from proxy.sandbox.limits import DOCUMENTED_LIMITS, Concurrent, Limit, Rate, parse_limits
from proxy.sandbox.server import Sandbox
from proxy.sandbox.settings import SandboxSettings

__all__ = [
    "DOCUMENTED_LIMITS",
    "Concurrent",
    "Entry",
    "Fault",
    "Ledger",
    "Limit",
    "Rate",
    "Sandbox",
    "SandboxSettings",
    "parse_fault",
    "parse_fault_rates",
    "parse_limits",
]
