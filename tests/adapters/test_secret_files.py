"""Secrets in files: read at the start, read again when they change, and never let go for something worse."""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.adapters.secret_files import SecretFile

LONG_AGO, JUST_NOW = 10.0, 0.5


@dataclass
class Watch:
    """A secret file, the time it goes by, and what it told; `age` is that of each change, in seconds."""

    path: Path
    age: float = LONG_AGO
    time: float = 100.0
    told: list[tuple[str, str]] = field(default_factory=list)
    known: list[str] = field(default_factory=list)

    def open(self, *, at_least: int = 1) -> SecretFile:
        return SecretFile(
            str(self.path),
            now=lambda: self.time,
            wall=self.wall,
            told=lambda state, sentence: self.told.append((state, sentence)),
            known=self.known.append,
            at_least=at_least,
        )

    def wall(self) -> float:
        return self.path.stat().st_ctime + self.age

    def states(self) -> list[str]:
        states = [state for state, _ in self.told]
        self.told.clear()
        return states


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    path = tmp_path / "key"
    path.write_text("avk_first\n")
    return Watch(path)


def replace(path: Path, content: bytes | str) -> None:
    """Put another file in its place, as careful programs do."""
    new = path.with_name("new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.rename(path)


def later(secret: SecretFile, watch: Watch, seconds: float = 1.0) -> str:
    watch.time += seconds
    return secret()


@pytest.mark.parametrize("content", ["avk_x", "avk_x\n", "\r\n\t avk_x \r\n\n"])
def test_the_content_comes_without_the_whitespace_around_it(watch: Watch, content: str) -> None:
    watch.path.write_text(content)
    assert watch.open()() == "avk_x"


@pytest.mark.parametrize("size", [1, 4096])
def test_one_to_4096_characters_are_taken(watch: Watch, size: int) -> None:
    watch.path.write_text("~" * size + "\n")
    assert watch.open()() == "~" * size


UNFIT = [
    (b"", "is empty"),
    (b" \n\t", "is empty"),
    (b"hunter2\nhunter2", "holds more than one line of visible ASCII without spaces"),
    (b"hunter2 hunter2", "holds more than one line of visible ASCII without spaces"),
    (b"hunter2\x00", "holds more than one line of visible ASCII without spaces"),
    (b"\xef\xbb\xbfhunter2", "holds more than one line of visible ASCII without spaces"),
    (b"hunter2\xff", "holds more than one line of visible ASCII without spaces"),
    (b"hunter2" * 586, "is too long"),
    (b"hunter2" * 100_000, "is too long"),
]


@pytest.mark.parametrize(("content", "what"), UNFIT)
def test_unfit_content_stops_the_start_with_a_sentence_that_does_not_repeat_it(
    watch: Watch, content: bytes, what: str
) -> None:
    watch.path.write_bytes(content)
    with pytest.raises(ValueError, match=what) as refused:
        watch.open()
    assert str(refused.value).startswith(str(watch.path))
    assert "write " in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__context__ is None


def test_a_short_token_is_refused_where_a_length_is_demanded(watch: Watch) -> None:
    watch.path.write_text("hunter2-hunter2")
    with pytest.raises(ValueError, match="fewer than 16 characters") as refused:
        watch.open(at_least=16)
    assert "hunter2" not in str(refused.value)
    watch.path.write_text("hunter2-hunter2-")
    assert watch.open(at_least=16)() == "hunter2-hunter2-"


def test_a_file_that_is_not_there_stops_the_start(watch: Watch) -> None:
    watch.path.unlink()
    with pytest.raises(OSError, match="No such file") as refused:
        watch.open()
    assert str(refused.value).startswith(f"{watch.path} can't be read (")
    assert str(refused.value).endswith("put a file there that the proxy's user may read.")


def test_what_is_no_file_stops_the_start_and_a_pipe_does_not_hang_it(watch: Watch) -> None:
    watch.path.unlink()
    os.mkfifo(watch.path)
    with pytest.raises(ValueError, match="is no regular file"):
        watch.open()
    watch.path.unlink()
    watch.path.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        watch.open()


def test_an_unchanged_file_is_not_read_again(watch: Watch) -> None:
    secret = watch.open()
    assert [later(secret, watch) for _ in range(3)] == ["avk_first"] * 3
    assert watch.told == []


@pytest.mark.parametrize("write", [replace, Path.write_text])
def test_a_changed_file_is_read_again_and_that_is_told_once(watch: Watch, write: object) -> None:
    secret = watch.open()
    assert callable(write)
    write(watch.path, "avk_second")
    assert later(secret, watch) == "avk_second"
    assert later(secret, watch) == "avk_second"
    assert watch.told == [("credential_reloaded", f"{watch.path} has changed and was read again.")]


def test_a_change_of_the_same_size_that_keeps_the_files_date_is_seen(watch: Watch) -> None:
    secret, before = watch.open(), watch.path.stat()
    watch.path.write_text("avk_other\n")
    os.utime(watch.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert later(secret, watch) == "avk_other"


def test_it_looks_at_most_once_a_second(watch: Watch) -> None:
    secret = watch.open()
    replace(watch.path, "avk_second")
    assert later(secret, watch, 0.99) == "avk_first"
    assert later(secret, watch, 0.01) == "avk_second"
    replace(watch.path, "avk_third")
    assert later(secret, watch, 0.99) == "avk_second"
    assert later(secret, watch, 0.01) == "avk_third"


def test_a_file_that_is_still_being_written_waits_for_the_next_look(watch: Watch) -> None:
    secret, watch.age = watch.open(), JUST_NOW
    watch.path.write_text("avk_sec")
    assert later(secret, watch) == "avk_first"
    watch.path.write_text("avk_second")
    assert later(secret, watch) == "avk_first"
    assert watch.told == []
    watch.age = LONG_AGO
    assert later(secret, watch) == "avk_second"
    assert watch.states() == ["credential_reloaded"]


@pytest.mark.parametrize(("content", "what"), UNFIT)
def test_unfit_content_later_leaves_the_old_and_is_told_once_without_being_repeated(
    watch: Watch, content: bytes, what: str
) -> None:
    secret = watch.open()
    watch.path.write_bytes(content)
    assert [later(secret, watch) for _ in range(3)] == ["avk_first"] * 3
    ((state, sentence),) = watch.told
    assert state == "credential_unreadable"
    assert f"{watch.path} {what}" in sentence
    assert sentence.endswith("Until then the last good content is used.")
    assert "hunter2" not in sentence


def test_each_change_for_the_worse_is_told(watch: Watch) -> None:
    secret = watch.open()
    for content in ("", "a b"):
        replace(watch.path, content)
        assert later(secret, watch) == "avk_first"
    replace(watch.path, "avk_second")
    assert later(secret, watch) == "avk_second"
    assert watch.states() == ["credential_unreadable", "credential_unreadable", "credential_reloaded"]


def test_what_can_not_be_read_for_a_moment_is_read_when_that_has_passed(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    secret = watch.open()
    replace(watch.path, "avk_second")
    with monkeypatch.context() as exhausted:
        exhausted.setattr("builtins.open", no_descriptor)
        assert [later(secret, watch) for _ in range(2)] == ["avk_first"] * 2
    assert later(secret, watch) == "avk_second"
    assert watch.states() == ["credential_unreadable", "credential_reloaded"]


def test_a_file_that_vanished_leaves_the_old_until_it_is_back(watch: Watch) -> None:
    secret = watch.open()
    aside = watch.path.with_name("aside")
    watch.path.rename(aside)
    assert [later(secret, watch) for _ in range(2)] == ["avk_first"] * 2
    assert watch.states() == ["credential_unreadable"]
    aside.rename(watch.path)
    assert later(secret, watch) == "avk_first"
    assert watch.states() == ["credential_reloaded"]


def test_a_pipe_in_the_files_place_leaves_the_old_and_does_not_hang(watch: Watch) -> None:
    secret = watch.open()
    watch.path.unlink()
    os.mkfifo(watch.path)
    assert later(secret, watch) == "avk_first"
    assert watch.states() == ["credential_unreadable"]


def test_a_file_is_read_again_once_it_may_be_read(watch: Watch) -> None:
    secret = watch.open()
    watch.path.unlink()
    watch.path.symlink_to(watch.path.with_name("later"))
    assert later(secret, watch) == "avk_first"
    watch.path.with_name("later").write_text("avk_second")
    assert later(secret, watch) == "avk_second"
    assert watch.states() == ["credential_unreadable", "credential_reloaded"]


def test_a_change_of_permissions_alone_makes_it_look_again(watch: Watch) -> None:
    secret = watch.open()
    watch.path.chmod(0o600)
    assert later(secret, watch) == "avk_first"
    assert watch.states() == ["credential_reloaded"]


def test_a_link_turned_to_another_directory_is_followed_as_kubernetes_turns_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(f"avk_{name}")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "key").symlink_to("..data/key")
    watch = Watch(tmp_path / "key")
    secret = watch.open()
    assert secret() == "avk_one"
    (tmp_path / "..tmp").symlink_to("two")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert later(secret, watch) == "avk_two"
    assert watch.states() == ["credential_reloaded"]


def test_its_repr_shows_the_path_only(watch: Watch) -> None:
    assert repr(watch.open()) == f"<SecretFile {watch.path}>"


def test_each_content_that_is_used_is_made_known_and_none_other(watch: Watch) -> None:
    secret = watch.open()
    replace(watch.path, "two\nlines")
    later(secret, watch)
    assert watch.known == ["avk_first"]
    replace(watch.path, "avk_second")
    later(secret, watch)
    assert watch.known == ["avk_first", "avk_second"]
