"""What the API keeps for each user; what is there from the beginning is the same at every start."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid5

from proxy.sandbox.callers import Caller

SEEDED_DATASETS = 45
SEEDED_PROJECTS = 3
DATA_TYPES = ("image", "video", "lidar")
_NAMESPACE = UUID("a7a1a000-0000-4000-8000-000000000000")
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)

Record = dict[str, Any]
T = TypeVar("T")


def timestamp(moment: datetime) -> str:
    """Write a moment as DRF does."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Export:
    """An export job; its status is told by the time, as nothing really runs."""

    record: Record
    started: float
    """Monotonic seconds."""
    seconds: float

    def status(self, now: float) -> str:
        """Tell how far it is: a quarter of its time pending, then in progress, then exported."""
        age = now - self.started
        if age >= self.seconds:
            return "exported"
        return "in_progress" if age >= self.seconds / 4 else "pending"


class Table(Generic[T]):
    """Rows by uid, in order of creation; a deleted row's position is not given again (cursors rely on it)."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, T]] = {}
        self._positions = itertools.count(1)

    def add(self, uid: str, row: T) -> T:
        """Keep a row, and give it back."""
        self._rows[uid] = (next(self._positions), row)
        return row

    def get(self, uid: str) -> T | None:
        """Find a row."""
        found = self._rows.get(uid)
        return found[1] if found else None

    def delete(self, uid: str) -> None:
        """Drop a row that is there."""
        del self._rows[uid]

    def rows(self) -> list[tuple[int, T]]:
        """Give all rows with their positions, oldest first."""
        return list(self._rows.values())


@dataclass(slots=True)
class Account:
    """Everything one user owns."""

    caller: Caller
    profile: Record
    datasets: Table[Record] = field(default_factory=Table)
    projects: Table[Record] = field(default_factory=Table)
    exports: Table[Export] = field(default_factory=Table)
    webhooks: Table[Record] = field(default_factory=Table)
    promised: dict[str, int] = field(default_factory=dict)
    """Bytes that may still be uploaded to each key, by the URLs given out: what the storage quota counts."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def new_uid(self, kind: str) -> str:
        """Make the next uid: the same for the same user, kind and number at every start."""
        return str(uuid5(_NAMESPACE, f"{self.caller.user}/{kind}/{next(self._numbers)}"))

    def add_dataset(self, fields: Record, moment: datetime) -> Record:
        """Keep a new dataset."""
        uid = self.new_uid("dataset")
        record = {
            "uid": uid,
            "owner_name": self.caller.username,
            "item_count": 0,
            "status": "created",
            "data_type": "image",
            "visibility": "private",
            "is_sequence": False,
            **fields,
            "created_at": timestamp(moment),
            "updated_at": timestamp(moment),
        }
        return self.datasets.add(uid, record)

    def add_export(self, fields: Record, seconds: float, now: float, moment: datetime) -> Export:
        """Start an export job that will have run for `seconds`; `now` is monotonic, `moment` the date."""
        uid = self.new_uid("export")
        record = {"uid": uid, **fields, "created_at": timestamp(moment), "updated_at": timestamp(moment)}
        return self.exports.add(uid, Export(record, now, seconds))

    def add_webhook(self, fields: Record, moment: datetime) -> Record:
        """Keep a new webhook."""
        uid = self.new_uid("webhook")
        record = {
            "uid": uid,
            "is_active": True,
            **fields,
            "created_at": timestamp(moment),
            "updated_at": timestamp(moment),
        }
        return self.webhooks.add(uid, record)

    def add_project(self, name: str, moment: datetime) -> Record:
        """Keep a new project."""
        uid = self.new_uid("project")
        record = {
            "uid": uid,
            "name": name,
            "status": "pending",
            "created_at": timestamp(moment),
            "updated_at": timestamp(moment),
        }
        return self.projects.add(uid, record)


class Store:
    """All accounts; each is made up when its user first comes."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def account(self, caller: Caller) -> Account:
        """Give the caller's account."""
        user = caller.user or ""
        if user not in self._accounts:
            self._accounts[user] = _seeded(caller)
        return self._accounts[user]


def _seeded(caller: Caller) -> Account:
    profile = {
        "uid": str(uuid5(_NAMESPACE, f"{caller.user}/user")),
        "username": caller.username,
        "email": f"{caller.username}@example.com",
        "first_name": "",
        "last_name": "",
        "in_waitlist": False,
        "plan": caller.plan,
    }
    account = Account(caller, profile)
    if caller.user is None or caller.stranger:
        return account
    for number in range(1, SEEDED_DATASETS + 1):
        fields = {
            "name": f"Dataset {number:02}",
            "slug": f"dataset-{number:02}",
            "item_count": number * 10,
            "data_type": DATA_TYPES[number % len(DATA_TYPES)],
        }
        account.add_dataset(fields, _EPOCH + timedelta(hours=number))
    for number in range(1, SEEDED_PROJECTS + 1):
        account.add_project(f"Project {number}", _EPOCH + timedelta(hours=number))
    return account
