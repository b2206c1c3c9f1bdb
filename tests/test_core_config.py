"""Settings: defaults < file < overrides; whatever is wrong is one sentence that names it."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path

import pytest

from src_core.config import config_class, dump, load_config
from src_core.errors import BoundaryError, UserError, run_main
from src_core.llm import Endpoint


class Colour(StrEnum):
    """An enumeration with a value that YAML would read as a truth value."""

    OFF = "off"
    RED = "red"


@config_class
class Inner:
    """A section."""

    url: str = "u"
    size: int = 1


@config_class
class Outer:
    """A configuration with every kind of field."""

    name: str = "n"
    count: int = 2
    rate: float = 0.5
    flag: bool = False
    colour: Colour = Colour.RED
    inner: Inner = Inner()
    maybe: Inner | None = None
    limit: int | None = None


def test_overrides_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("count: 5\ninner: {size: 7}\n")
    config = load_config(Outer, path, ["count=6", "inner.url=http://x", "maybe.size=3"])
    assert config == Outer(count=6, inner=Inner(url="http://x", size=7), maybe=Inner(size=3))
    assert load_config(Outer, None) == Outer()
    path.write_text("")
    assert load_config(Outer, path) == Outer()


@pytest.mark.parametrize(
    "text", ["Who: A or B?", "[draft] why", "- x", "{a", "1959", "yes", "a=b", "", "#1", "'"]
)
def test_text_overrides_are_taken_literally(text: str) -> None:
    assert load_config(Outer, None, [f"name={text}", f"inner.url={text}"]) == Outer(
        name=text, inner=Inner(url=text)
    )


def test_a_wrong_value_of_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("count: 5\ninner:\n  url: x\n  size: many\n")
    with pytest.raises(UserError, match=rf"'inner.size' is wrong: .*; correct it in {path}, line 4$"):
        load_config(Outer, path)
    for override in ("inner.size=few", "inner={size: few}"):
        with pytest.raises(UserError, match=r"'inner.size' is wrong: .*; correct it$"):
            load_config(Outer, path, [override])


def test_other_overrides_are_read_as_yaml() -> None:
    config = load_config(Outer, None, ["count=7", "rate=1e-3", "flag=true", "colour=off", "limit=null"])
    assert config == Outer(count=7, rate=0.001, flag=True, colour=Colour.OFF, limit=None)
    assert load_config(Outer, None, ["inner={size: 9}"]).inner.size == 9


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["count"], ["'count'", "key=value"]),
        (["=3"], ["key=value"]),
        (["count=[1"], ["count=[1", "] is missing at its end; add it"]),
        (["count=[{a: '[', b: 1"], ["}] is missing at its end"]),
        (["count=[1]]"], ["a ] has no opening bracket before it"]),
        (["count=[1}"], ["a } has no opening bracket before it"]),
        (["count=[[[[1"], ["4 of its brackets are not closed"]),
        (["count=a: b: c"], ["count=a: b: c", "quote it"]),
        (["count=many"], ["'count'", "integer", "many"]),
        (["inner.size=x"], ["inner.size", "integer"]),
        (["colour=blue"], ["colour", "off", "red", "blue"]),
        (["cuont=3"], ["unknown setting cuont", "did you mean count?", "known here: colour, count"]),
        (["inner.sise=3"], ["unknown setting inner.sise", "did you mean inner.size?"]),
        (["maybe.sise=3"], ["unknown setting maybe.sise"]),
        (["name.first=x"], ["name"]),
        (["zzz=1"], ["unknown setting zzz", "known here"]),
        (["url=x"], ["unknown setting url", "did you mean inner.url?"]),
        (["inner.size=1", "inner=3"], ["inner"]),
        (["inner=3", "inner.size=1"], ["inner.size", "not a section"]),
    ],
)
def test_a_wrong_override_is_one_sentence(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as wrong:
        load_config(Outer, None, overrides)
    assert all(word in str(wrong.value) for word in words), str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"counts: 3\n", ["c.yaml", "unknown setting counts", "did you mean count?"]),
        (b"inner: {urll: x}\n", ["unknown setting inner.urll", "did you mean inner.url?"]),
        (b"count: {a: 1}\n", ["'count'"]),
        (b"a: [1\n", ["not valid YAML", "line"]),
        (b"\xff\xfe\x00", ["not valid YAML"]),
        (b"- 1\n", ["expected lines of key: value, found [1]"]),
        (b"3: 4\n", ["unknown setting 3"]),
        (b"!!python/object/apply:os.system ['true']\n", ["not valid YAML"]),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as wrong:
        load_config(Outer, path)
    assert all(word in str(wrong.value) for word in words), str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_missing_file_says_where_the_shipped_ones_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="configs/"):
        load_config(Outer, tmp_path / "absent.yaml")


def test_configurations_are_frozen_and_survive_dump() -> None:
    config = load_config(Outer, None, ["colour=off", "maybe.size=3"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.count = 3  # type: ignore[misc]
    plain = dump(config)
    assert plain["colour"] == "off"
    assert plain["maybe"] == {"url": "u", "size": 3}
    assert Outer(**plain) == config


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("do this"), 2, "error: do this\n"),
        (KeyboardInterrupt(), 130, "interrupted: finished rows are saved"),
    ],
)
def test_entry_points_end_in_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        raise error

    with pytest.raises(SystemExit) as end:
        run_main(main)
    captured = capsys.readouterr()
    assert end.value.code == code
    assert captured.err.startswith(line)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_entry_points_pass_exit_codes_on_and_hide_no_bug() -> None:
    for result, code in ((None, 0), (0, 0), (1, 1)):
        with pytest.raises(SystemExit) as end:
            run_main(lambda result=result: result)
        assert end.value.code == code
    for bug in (KeyError("x"), BoundaryError("y")):

        def main(bug: Exception = bug) -> int:
            raise bug

        with pytest.raises(type(bug)):
            run_main(main)


@pytest.mark.parametrize(
    "value", ["[" * 3000, "9" * 5000, "2026-13-45", "{a: &x [*x]}", "!!python/object:os.system x", "\x00"]
)
def test_a_value_that_yaml_cannot_read_is_one_sentence(value: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        load_config(Endpoint, None, [f"timeout={value}"])
    assert len(str(refused.value)) < 400
    file = tmp_path / "c.yaml"
    file.write_text(f"timeout: {value}\n")
    with pytest.raises(UserError):
        load_config(Endpoint, file)
