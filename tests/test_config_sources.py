"""The file and the environment, as sources that can be broken themselves."""

from pathlib import Path

import pytest

from proxy.config import ConfigError, load


def told(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        load(path)
    (problem,) = refused.value.problems
    return str(problem).replace(str(path), "FILE")


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    assert told(tmp_path / "none.toml") == "FILE does not exist; allowed: the path of a TOML file"


def test_a_file_that_the_environment_names_is_told_with_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "none.toml"
    monkeypatch.setenv("AVALA_PROXY_CONFIG", str(path))
    with pytest.raises(ConfigError, match="named by the environment variable AVALA_PROXY_CONFIG"):
        load()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert told(tmp_path) == "FILE is a directory; allowed: the path of a TOML file in it"


def test_a_file_that_can_not_be_read_is_said_so(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    assert told(loop).startswith("FILE can't be read: Too many levels of symbolic links")


def test_broken_toml_is_told_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text("[queue]\nsize 3\n")
    assert "is not TOML" in told(path)
    assert "(at line 2, column 6)" in told(path)


def test_a_file_in_another_encoding_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_bytes(b"# one\n# \xe9t\xe9\n")
    assert told(path) == "FILE is not text: line 2 is not UTF-8; allowed: TOML in UTF-8"


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_bytes(b"\xef\xbb\xbf[queue]\nsize = 5\n")
    assert load(path).queue.size == 5


def test_a_path_with_a_null_byte_is_told_like_any_other(tmp_path: Path) -> None:
    assert "is not TOML" in told(tmp_path / "a\0b")


def test_nesting_beyond_reason_is_told_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text("x = " + "[" * 100_000)
    assert "is not TOML" in told(path)
