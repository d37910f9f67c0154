"""What is raised where the shared store cannot be asked: known also where its client is not installed."""

from proxy.events import LedgerReason


class StoreGone(Exception):
    """The shared store did not do what it was asked; the text says what to do, and holds no secret."""

    def __init__(self, reason: LedgerReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: LedgerReason = reason
