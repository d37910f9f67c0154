"""What an exchange has cost so far: kept by whoever carries a request, read by whoever answers it."""

from dataclasses import dataclass

from proxy.errors import ErrorClass, Fault


@dataclass(slots=True)
class Account:
    """Attempts, and where the time went (seconds); `limit` held it, and the last attempt was of this class.

    `probes` of the attempts were made to see if an upstream that failed is back.

    `code` is the structured one of an answer that is an error.

    `coalesced` says that it went along with another request that asked for the same; `would_wait` is what it
    would have waited in line where nothing is held (None: things are).
    """

    attempts: int = 0
    waited: float = 0.0
    upstream: float = 0.0
    limit: str = "none"
    error_class: ErrorClass = ErrorClass.NONE
    fault: Fault = Fault.NONE
    code: str | None = None
    coalesced: bool = False
    would_wait: float | None = None
    probes: int = 0

    def judged(self, error_class: ErrorClass, fault: Fault, code: str | None = None) -> None:
        """Note what the last attempt, or the answer, came to."""
        self.error_class, self.fault, self.code = error_class, fault, code

    def share(self, other: "Account") -> None:
        """Take over what an exchange cost that was this one's too."""
        self.attempts += other.attempts
        self.probes += other.probes
        self.waited += other.waited
        self.upstream += other.upstream
        self.judged(other.error_class, other.fault, other.code)
