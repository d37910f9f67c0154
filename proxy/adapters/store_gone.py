"""What is raised where the shared store cannot be asked: known also where its client is not installed."""

from typing import Literal

Reason = Literal["refused", "timeout", "lost", "denied", "read_only", "full", "busy", "error"]


class StoreGone(Exception):
    """The shared store did not do what it was asked; the text says what to do, and holds no secret."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason
