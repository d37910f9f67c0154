"""The state file: whole however the process ends, of one process only, and never worse than none."""

import json
import os
import random
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.state_file import InUse, Saved, StateFile, Unwritable
from proxy.policy.feedback import LONGEST
from proxy.policy.limits import Lane
from proxy.policy.memory import Memory

SECRET = bytes(range(32))
LANE = Lane("standard", "0123456789ab")
SAVED = Saved(
    SECRET, {LANE: Memory((50.0, 0.25, -1.0), (7.5,), 100, 12.0), Lane("global", "global"): Memory()}
)
EARLIER = Saved(SECRET, {LANE: Memory((60.0,))})

GRAIN = 0.001
FLOAT = 1e-6
"""What a wall time as a float is good for, in seconds."""


@dataclass
class Disk:
    """A path, the wall time, and what the state files there told."""

    path: Path
    time: float = 1_790_000_000.125
    told: list[tuple[str, str]] = field(default_factory=list)

    def file(self) -> StateFile:
        return StateFile(str(self.path), wall=lambda: self.time, told=lambda *said: self.told.append(said))

    def saves(self, saved: Saved) -> None:
        with self.opened() as (file, _):
            file.save(saved)

    def reads(self) -> Saved | None:
        with self.opened() as (_, saved):
            return saved

    def reads_lane(self) -> Memory:
        saved = self.reads()
        assert saved is not None
        return saved.lanes[LANE]

    @contextmanager
    def opened(self) -> Iterator[tuple[StateFile, Saved | None]]:
        file = self.file()
        saved = file.open()
        try:
            yield file, saved
        finally:
            file.close()

    def beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def states(self) -> list[str]:
        states = [state for state, _ in self.told]
        self.told.clear()
        return states

    def content(self) -> Any:
        return json.loads(self.path.read_bytes())


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "state.json")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# What is kept.


def test_a_missing_file_is_no_trouble(disk: Disk) -> None:
    assert disk.reads() is None
    assert disk.told == []
    assert not disk.path.exists()


def test_what_was_saved_comes_back(disk: Disk) -> None:
    disk.saves(SAVED)
    assert disk.reads() == SAVED
    assert disk.told == []


def test_the_file_is_compact_json_in_whole_milliseconds_since_1970(disk: Disk) -> None:
    disk.saves(Saved(SECRET, {LANE: Memory((0.125,), (), None, 1.0)}))
    assert (
        disk.path.read_bytes()
        == (
            b'{"schema":1,"saved_at":1790000000125,"secret":"%b","lanes":[{"limit":"standard","key":"0123456789ab",'
            b'"own":[1790000000000],"foreign":[],"capacity":null,"paused_until":1790000001125}]}'
        )
        % SECRET.hex().encode()
    )


def test_what_is_added_between_savings_comes_back_too(disk: Disk) -> None:
    other = Lane("burst", 'a "key"\n')
    with disk.opened() as (file, _):
        file.add([LANE], 1.0)  # before the first saving there is nothing to add it to
        file.save(EARLIER)
        file.add([LANE, other], 1.0)
        disk.time += 0.25
        file.add([LANE], 1.0)
    assert disk.reads() == Saved(SECRET, {LANE: Memory((60.25, -0.75, -1.0)), other: Memory((-0.75,))})
    with disk.opened() as (file, _):
        file.save(EARLIER)
        file.add([], 1.0)
    assert disk.reads() == EARLIER
    assert disk.told == []


@pytest.mark.parametrize("half", [b"\n", b'\n["standard","0123', b'\n["standard","0123456789ab",1.5]'])
def test_a_line_that_was_half_added_is_left_out_and_one_that_makes_no_sense_spoils_all(
    disk: Disk, half: bytes
) -> None:
    disk.saves(EARLIER)
    whole = disk.path.read_bytes()
    disk.path.write_bytes(whole + half)
    assert disk.reads() == EARLIER
    assert disk.told == []
    disk.path.write_bytes(whole + half + b'\n["standard","0123456789ab",1790000000000]')
    assert disk.reads() is None
    assert "is ignored: a line that was added makes no sense." in disk.told[0][1]


def test_a_full_disk_stops_nobody_from_adding(disk: Disk) -> None:
    with disk.opened() as (file, _):
        file.save(EARLIER)
        with no_file_larger_than(disk.path.stat().st_size + 10):
            file.add([LANE], 1.0)
            file.add([LANE], 1.0)
    assert disk.reads() == EARLIER
    assert disk.told == []


ages = st.floats(-1.0, 1e5)
memories = st.builds(
    Memory,
    st.lists(ages, max_size=5).map(tuple),
    st.lists(st.floats(0.0, 1e5), max_size=5).map(tuple),
    st.none() | st.integers(0, 10**18),
    st.floats(0.0, LONGEST),
)
saves = st.builds(
    Saved,
    st.binary(min_size=32, max_size=32),
    st.dictionaries(st.builds(Lane, st.text(max_size=9), st.text(max_size=9)), memories, max_size=4),
)


@given(saves, st.floats(1e9, 3e9), st.floats(0.0, 1e6))
def test_any_memories_survive_to_the_millisecond_and_are_as_much_older_as_time_has_passed(
    saved: Saved, time: float, passed: float
) -> None:
    with TemporaryDirectory() as directory:
        disk = Disk(Path(directory) / "state", time)
        disk.saves(saved)
        disk.time += passed
        read = disk.reads()
    assert read is not None
    assert (read.secret, read.lanes.keys()) == (saved.secret, saved.lanes.keys())
    for lane, before in saved.lanes.items():
        after = read.lanes[lane]
        assert after.capacity == before.capacity
        for was, is_now in ((before.own, after.own), (before.foreign, after.foreign)):
            assert len(was) == len(is_now)
            for age, aged in zip(was, is_now, strict=True):
                assert age + passed - GRAIN - FLOAT <= aged <= age + passed + FLOAT
        left = max(0.0, before.paused - passed)
        assert left - FLOAT <= after.paused <= min(left + GRAIN + FLOAT, LONGEST)


def test_a_clock_that_went_back_makes_nothing_younger_and_no_pause_longer(disk: Disk) -> None:
    disk.saves(SAVED)
    disk.time -= 3600
    assert disk.reads() == SAVED


def test_what_others_spent_was_counted_when_it_was_seen_whatever_the_file_says(disk: Disk) -> None:
    disk.saves(SAVED)
    content = disk.content()
    content["lanes"][0]["foreign"] = [content["saved_at"] + 10**9]
    disk.path.write_text(json.dumps(content))
    assert disk.reads_lane().foreign == (0.0,)


def test_no_pause_is_longer_than_what_is_believed_of_the_upstream(disk: Disk) -> None:
    disk.saves(Saved(SECRET, {LANE: Memory(paused=10 * LONGEST)}))
    assert disk.reads_lane().paused == LONGEST


def test_what_is_older_than_1970_is_of_1970(disk: Disk) -> None:
    disk.saves(Saved(SECRET, {LANE: Memory(own=(1e12,))}))
    assert disk.reads_lane().own == (disk.time,)


# What makes no sense.


def changed(**fields: object) -> bytes:
    """Return a state with other fields; None takes one out."""
    lane = {"limit": "a", "key": "b", "own": [1], "foreign": [2], "capacity": 3, "paused_until": 4}
    state: dict[str, object] = {"schema": 1, "saved_at": 1, "secret": SECRET.hex(), "lanes": [lane]}
    (lane if fields.keys() <= lane.keys() else state).update(fields)
    return json.dumps(state).encode()


UNUSABLE = [
    (b"", "it is not JSON."),
    (b"\x00" * 100, "it is not JSON."),
    (b"hunter2", "it is not JSON."),
    (b"[" * 100_000, "it is not JSON."),
    (b"\xef\xbb\xbf" + changed(), "it is not JSON."),
    (changed(limit="hunter2").replace(b"hunter2", b"\xff"), "it is not JSON."),
    (changed(limit="hunter2").replace(b"hunter2", b"\\ud800"), "it is not JSON."),
    (b'["hunter2"]', "it is no JSON object."),
    (b"{}", 'its "schema" makes no sense'),
    (changed(schema="hunter2"), 'its "schema" makes no sense'),
    (changed(schema=True), 'its "schema" makes no sense'),
    (changed(schema=1.0), 'its "schema" makes no sense'),
    (b'{"schema": 7, "hunter2": 0}', "it is of schema 7, which this version does not know."),
    (changed(schema=10**19), 'its "schema" makes no sense'),
    (changed().replace(b"saved_at", b"hunter2"), 'its "saved_at" makes no sense (Field required).'),
    (changed(saved_at=-1), 'its "saved_at" makes no sense'),
    (changed(saved_at=float("nan")), 'its "saved_at" makes no sense'),
    (changed(saved_at=float("inf")), 'its "saved_at" makes no sense'),
    (changed(saved_at=10**400), 'its "saved_at" makes no sense'),
    (changed(secret="hunter2"), 'its "secret" makes no sense'),
    (changed(secret=SECRET.hex() + "\n"), 'its "secret" makes no sense'),
    (changed(secret=SECRET.hex()[:-2]), 'its "secret" makes no sense'),
    (changed(secret=None), 'its "secret" makes no sense'),
    (changed(lanes="hunter2"), 'its "lanes" makes no sense (Input should be a valid array).'),
    (changed(lanes=["hunter2"]), 'its "lanes.0" makes no sense'),
    (changed(lanes=[[]] * 100_000), 'its "lanes.0" makes no sense'),
    (changed(lanes=[json.loads(changed())["lanes"][0]] * 2), 'its "lanes" has one twice.'),
    (changed(limit=7), 'its "lanes.0.limit" makes no sense'),
    (changed(key=None), 'its "lanes.0.key" makes no sense'),
    (changed(own="hunter2"), 'its "lanes.0.own" makes no sense'),
    (changed(own=[1, "hunter2"]), 'its "lanes.0.own.1" makes no sense'),
    (changed(own=["hunter2"] * 100_000), 'its "lanes.0.own.0" makes no sense'),
    (changed(own=[True]), 'its "lanes.0.own.0" makes no sense'),
    (changed(foreign=[1.5]), 'its "lanes.0.foreign.0" makes no sense'),
    (changed(foreign=[-1]), 'its "lanes.0.foreign.0" makes no sense'),
    (changed(capacity=-1), 'its "lanes.0.capacity" makes no sense'),
    (changed(capacity=False), 'its "lanes.0.capacity" makes no sense'),
    (changed(paused_until="hunter2"), 'its "lanes.0.paused_until" makes no sense'),
]


def test_what_is_not_changed_makes_sense(disk: Disk) -> None:
    disk.path.touch(0o600)
    disk.path.write_bytes(changed(capacity=None))
    assert disk.reads() is not None
    assert disk.told == []


@pytest.mark.parametrize(("content", "why"), UNUSABLE)
def test_unusable_content_is_ignored_with_its_reason_and_without_being_repeated(
    disk: Disk, content: bytes, why: str
) -> None:
    disk.path.write_bytes(content)
    assert disk.reads() is None
    [(state, sentence)] = disk.told
    assert state == "state_file_ignored"
    assert sentence.startswith(f"{disk.path} is ignored: {why}")
    assert sentence.endswith(
        ". What was spent before is not known; the first request of each key goes alone. "
        f"It is kept as {disk.path}.ignored when the state is saved."
    )
    assert "hunter2" not in sentence
    assert SECRET.hex() not in sentence


def test_a_file_too_large_to_be_ours_is_ignored(disk: Disk) -> None:
    disk.path.touch()
    os.truncate(disk.path, 64 * 2**20 + 1)
    assert disk.reads() is None
    assert "it is larger than 64 MiB." in disk.told[0][1]


def test_a_file_cut_anywhere_is_ignored(disk: Disk) -> None:
    disk.saves(EARLIER)
    whole = disk.path.read_bytes()
    for length in range(len(whole)):
        disk.path.write_bytes(whole[:length])
        assert disk.reads() is None
        assert disk.states() == ["state_file_ignored"]


@given(st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=3))
def test_whatever_bytes_are_changed_it_is_ignored_or_can_be_used_and_saved_again(
    changes: list[tuple[int, int]],
) -> None:
    with TemporaryDirectory() as directory:
        disk = Disk(Path(directory) / "state")
        disk.saves(SAVED)
        content = bytearray(disk.path.read_bytes())
        for place, byte in changes:
            content[place % len(content)] = byte
        disk.path.write_bytes(content)
        with disk.opened() as (file, saved):
            assert disk.states() == ([] if saved else ["state_file_ignored"])
            file.save(saved or SAVED)
        assert disk.reads() is not None
        assert disk.told == []


@pytest.mark.parametrize("content", [b'{"schema": 7}', b"half of someth"])
def test_what_was_ignored_is_put_aside_by_the_first_saving_for_its_owner_only(
    disk: Disk, content: bytes
) -> None:
    disk.path.write_bytes(content)
    disk.path.chmod(0o644)
    disk.reads()
    assert disk.path.read_bytes() == content
    with disk.opened() as (file, _):
        file.save(EARLIER)
        file.save(SAVED)
    assert disk.reads() == SAVED
    assert disk.beside(".ignored").read_bytes() == content
    assert mode(disk.beside(".ignored")) == 0o600


def test_what_cannot_be_put_aside_is_replaced(disk: Disk) -> None:
    disk.path.write_bytes(b"half of someth")
    disk.beside(".ignored").mkdir()
    disk.saves(SAVED)
    assert disk.reads() == SAVED
    assert disk.states() == ["state_file_ignored"]


# Whose it is.


def test_only_its_owner_may_read_what_it_writes_whatever_was_there(disk: Disk) -> None:
    disk.beside(".tmp").write_text("left behind")
    disk.beside(".tmp").chmod(0o644)
    with disk.opened() as (file, _):
        disk.beside(".tmp").write_text("put there later")
        disk.beside(".tmp").chmod(0o644)
        file.save(SAVED)
    assert {each.name: mode(each) for each in disk.path.parent.iterdir()} == {
        "state.json": 0o600,
        "state.json.lock": 0o600,
    }


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(disk: Disk, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("not ours")
    with disk.opened() as (file, _):
        disk.beside(".tmp").symlink_to(other)
        file.save(SAVED)
    assert other.read_text() == "not ours"
    assert not disk.path.is_symlink()
    assert disk.reads() == SAVED


@pytest.mark.parametrize("exposed", [0o640, 0o604, 0o620])
def test_a_file_that_is_open_to_others_is_used_and_told_and_closed_by_the_next_saving(
    disk: Disk, exposed: int
) -> None:
    disk.saves(SAVED)
    disk.path.chmod(exposed)
    assert disk.reads() == SAVED
    [(state, sentence)] = disk.told
    assert state == "state_file_exposed"
    assert f"(mode 0{exposed:o})" in sentence
    disk.saves(SAVED)
    assert mode(disk.path) == 0o600


def test_neither_secret_nor_content_is_in_any_repr(disk: Disk) -> None:
    assert repr(SAVED) == "<Saved 2 lanes>"
    assert repr(disk.file()) == f"<StateFile {disk.path}>"


# Whether it can be written.


def a_directory(path: Path) -> None:
    (path / "full").mkdir(parents=True)


def a_link(path: Path) -> None:
    path.with_name("other").write_bytes(changed())
    path.symlink_to(path.with_name("other"))


PLACES = [
    ("nowhere/state", None, "No such file or directory"),
    ("file/state", None, "Not a directory"),
    ("state", a_directory, "it is no regular file"),
    ("state", os.mkfifo, "it is no regular file"),
    ("state", a_link, "it is no regular file"),
    ("state.tmp", a_directory, "Is a directory"),
    ("state.lock", a_directory, "Is a directory"),
    ("state.lock", a_link, "Too many levels of symbolic links"),
    ("n" * 251, None, "File name too long"),
]


@pytest.mark.parametrize(("name", "put", "why"), PLACES)
def test_a_place_that_cannot_hold_it_stops_the_start_with_advice_and_is_left_alone(
    tmp_path: Path, name: str, put: Any, why: str
) -> None:
    (tmp_path / "file").touch()
    if put:
        put(tmp_path / name)
    disk = Disk(tmp_path / name.removesuffix(".tmp").removesuffix(".lock"))
    for _ in range(2):  # and gives up the lock
        with pytest.raises(Unwritable) as raised:
            disk.file().open()
        assert str(raised.value) == (
            f"{disk.path} can't be used ({why}): name a file in a directory where the proxy's user may write."
        )
    assert disk.told == []
    assert put is None or tmp_path / name in tmp_path.iterdir()


def test_failing_to_write_is_told_once_and_so_is_its_end(disk: Disk) -> None:
    with disk.opened() as (file, _):
        file.save(EARLIER)
        elsewhere = disk.path.parent.rename(disk.path.parent.with_name("elsewhere"))
        file.save(SAVED)
        file.save(SAVED)
        assert repr(file) == f"<StateFile {disk.path} failing>"
        assert disk.told == [
            (
                "state_file_unwritable",
                f"{disk.path} can't be written (No such file or directory), so a restart would spend again "
                "what is spent now: see to the room on its disk, and to its directory.",
            )
        ]
        disk.told.clear()
        elsewhere.rename(disk.path.parent)
        file.save(SAVED)
        file.save(SAVED)
        assert disk.told == [("state_file_writable", f"{disk.path} is written again.")]
    assert disk.reads() == SAVED


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the kernel take so many bytes of a file and refuse the rest, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 10])
def test_a_disk_that_fills_up_leaves_the_last_whole_file_and_no_half_one(disk: Disk, room: int) -> None:
    with disk.opened() as (file, _):
        file.save(EARLIER)
        with no_file_larger_than(room):
            file.save(SAVED)
        assert disk.states() == ["state_file_unwritable"]
        assert not disk.beside(".tmp").exists()
    assert disk.reads() == EARLIER


def test_a_full_disk_does_not_stop_the_start(disk: Disk) -> None:
    disk.saves(SAVED)
    with no_file_larger_than(0):
        assert disk.reads() == SAVED


# Other processes.


ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from proxy.adapters.state_file import StateFile
StateFile(sys.argv[1], wall=time.time, told=print).open()
print("held", flush=True)
sys.stdin.read()
"""
WRITER = """
import sys, time
from proxy.adapters.state_file import Saved, StateFile
from proxy.policy.limits import Lane
from proxy.policy.memory import Memory
file = StateFile(sys.argv[1], wall=time.time, told=print)
file.open()
for number in range(1_000_000):
    lanes = {Lane("standard", str(key)): Memory(tuple(range(number % 200)), (), number) for key in range(50)}
    file.save(Saved(bytes(32), lanes))
    print(number, flush=True)
"""


@contextmanager
def running(program: str, path: Path) -> Iterator[tuple[int, Iterator[str]]]:
    """Run it beside us until it is killed; its number, and the lines it prints."""
    command = [sys.executable, "-c", program, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, iter(process.stdout)
        finally:
            process.kill()


def test_another_process_cannot_open_it_until_the_first_was_killed(disk: Disk) -> None:
    with running(HOLDER, disk.path) as (pid, lines):
        assert next(lines) == "held\n"
        for _ in range(2):
            with pytest.raises(InUse) as raised:
                disk.file().open()
            assert str(raised.value) == (
                f"{disk.path} is used by another avala-proxy (pid {pid}): give each its own state file."
            )
    disk.saves(SAVED)
    assert disk.reads() == SAVED


def test_nor_can_this_one_while_it_has_it_open(disk: Disk) -> None:
    with disk.opened() as (file, _):
        disk.beside(".lock").write_text("hunter2")
        with pytest.raises(InUse, match=r"by another avala-proxy: give each its own state file\.$"):
            disk.file().open()
        file.close()
        assert disk.reads() is None


def test_a_process_killed_at_any_moment_leaves_a_whole_file(disk: Disk) -> None:
    last = -1
    for _ in range(4):
        with running(WRITER, disk.path) as (_, lines):
            for _ in range(random.randint(1, 100)):
                last = int(next(lines))
        disk.time = 1e10
        saved = disk.reads()
        assert saved is not None
        numbers = {memory.capacity for memory in saved.lanes.values()}
        [number] = numbers
        assert number is not None
        assert number >= last
        assert {len(memory.own) for memory in saved.lanes.values()} == {number % 200}
        assert len(saved.lanes) == 50
    assert disk.told == []
