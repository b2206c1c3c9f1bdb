"""Methods, one module each, found by name; a user's file is found by its path."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from src_core.config import build_config
from src_core.errors import BoundaryError, UserError
from src_core.plugins import is_file, load_plugin, place_in, plugin_names
from src_core.setting_kinds import kind_in_words
from src_core.text import PromptError
from src_core.types import Question, Trajectory, to_json, trajectory_from_json
from src_infer.abstaining import kept_or_withheld, noting_replies
from src_infer.forgotten_await import Calls, noting_calls
from src_infer.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Method:
    """A method's coroutine, its settings (None where it has none), its description in one sentence, and
    whether it needs the retriever (not with `NEEDS_SEARCH = False` in its module). `formats` are the text
    formats that a model has to be trained for (`FORMATS` in its module; none: any model), `untrained` says
    how it answers with another one (`UNTRAINED`; "": it needs such a model). `file` is the user's file that
    it came from, None for a method of this package. `require` (a function of its module) raises `UserError`
    for settings with which no question can be answered.
    """

    run: Callable[[Question, Runtime], Awaitable[Trajectory]]
    settings: Any
    summary: str
    needs_search: bool
    formats: tuple[str, ...] = ()
    file: Path | None = None
    untrained: str = ""
    require: Callable[[Any], None] | None = None

    def require_settings(self) -> None:
        """Raises `UserError` for settings with which no question can be answered, and for whatever else the
        `require` of a user's file raises; needs no server.
        """
        if self.require is None:
            return
        try:
            self.require(self.settings)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            if self.file is None:
                raise
            raise _failed(self.file, error, "its require") from error

    async def answer(self, question: Question, runtime: Runtime) -> Trajectory:
        """Run the method, after `require_settings`, and withhold its answer where the run's settings say so.
        What a user's file raises, or returns instead of a row of plain data, is a `UserError` with its place,
        and no row is written; an error in this package keeps its traceback.
        """
        self.require_settings()
        with noting_replies() as replies:
            row = await self._trajectory(question, runtime)
        return kept_or_withheld(row, runtime.abstain, replies, runtime.news)

    async def _trajectory(self, question: Question, runtime: Runtime) -> Trajectory:
        if self.file is None:
            return await self.run(question, runtime)
        row = await self._row(self.file, question, runtime)
        if not isinstance(row, Trajectory):
            found = type(row).__name__
            raise UserError(
                f"{self.file}: run returned {found}, not a Trajectory; return "
                "Trajectory(question, steps, answer, Status.FINISHED)"
            )
        try:
            trajectory_from_json(to_json(row))
        except Exception as error:
            raise UserError(
                f"{self.file}: the row of its run is not plain data{_wrong_field(error)}; use the types of "
                "src_core.types, and JSON values in provenance"
            ) from error
        return row

    async def _row(self, file: Path, question: Question, runtime: Runtime) -> object:
        """What the `run` of a user's file returns."""
        with noting_calls() as calls:
            try:
                row: object = await self.run(question, runtime)
            except PromptError as error:
                said, where = f"{file}{place_in(file, error)}: {error}", self._setting_with(error.template)
                raise UserError(f"{said}; correct {where or 'the file'}") from error
            except UserError:
                raise
            except BoundaryError as error:  # it may be that of a prompt made of a call
                _require_awaited(calls, error)
                raise
            except (Exception, SystemExit) as error:  # a SystemExit would end the run without a word
                _require_awaited(calls, error)
                raise _failed(file, error, "the method") from error
            _require_awaited(calls)
            return row

    def _setting_with(self, prompt: str) -> str:
        """`the setting method_settings.ask` where it holds this prompt and no default, "" for none."""
        for field in dataclasses.fields(self.settings) if self.settings is not None else ():
            if getattr(self.settings, field.name) == prompt and field.default != prompt:
                return f"the setting method_settings.{field.name}"
        return ""


def _failed(file: Path, error: BaseException, what: str) -> UserError:
    """The sentence for an error that a user's file raised."""
    reason = f"{type(error).__name__}: {error}"
    return UserError(f"{file}{place_in(file, error)}: {what} failed ({reason}); correct the file")


def _wrong_field(error: Exception) -> str:
    """`: its answer must be text (got 7)`: the first field that is wrong, "" where it is not known."""
    if not isinstance(error, ValidationError):
        return ""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper())
    must = "must be text" if first["type"] == "string_type" else f"is wrong ({first['msg']})"
    return f": its {place} {must} (got {first['input']!r:.60})"


def _require_awaited(calls: Calls, error: BaseException | None = None) -> None:
    """Raises `UserError` for a call that was made and never awaited, from which `error` came."""
    call = calls.forgotten()
    if call is not None:
        raise UserError(
            f"{call.file}, line {call.line}: await is missing before {call.name}(…); "
            f"write await {call.name}(…)"
        ) from error


def method_names() -> list[str]:
    """The names of all methods in this package."""
    return plugin_names(__name__)


def load_method(name: str, settings: dict[str, Any] | None = None) -> Method:
    """The method in `src_infer/methods/<name>.py`, or in the file `name` (it ends in `.py`), with its
    settings. Raises `UserError` for an unknown name, a module without `run`, a `Settings` that is no
    `config_class`, and wrong settings.
    """
    module = load_plugin(__name__, name, known=method_names(), what="method")
    run = getattr(module, "run", None)
    if not inspect.iscoroutinefunction(run):
        raise UserError(f"the method {name} has no 'async def run(question, runtime)'; add it to its module")
    declared = getattr(module, "Settings", None)
    if declared is None and settings:
        raise UserError(f"the method {name} has no settings; remove method_settings ({', '.join(settings)})")
    built = None if declared is None else _settings(name, declared, settings or {})
    summary = " ".join((module.__doc__ or "").split("\n\n", 1)[0].split())
    file = Path(name) if is_file(name) else None
    formats = tuple(getattr(module, "FORMATS", ()))
    untrained = getattr(module, "UNTRAINED", "")
    needs_search, require = getattr(module, "NEEDS_SEARCH", True), getattr(module, "require", None)
    return Method(run, built, summary, needs_search, formats, file, untrained, require)


def _settings(name: str, declared: Any, given: dict[str, Any]) -> Any:
    """The settings of a method. Raises `UserError` for a `Settings` without its own `config_class`."""
    if not isinstance(declared, type) or "__dataclass_fields__" not in vars(declared):
        raise UserError(
            f"{name}: the settings of the method cannot be read; write @config_class above class Settings "
            "(from src_core.config import config_class)"
        )
    _require_sound(name, declared)
    return build_config(declared, dict(given), (), where=f"method_settings of {name}")


def _require_sound(name: str, declared: type) -> None:
    """Raises `UserError` for a setting without a type, and for a default that is not of its setting's type
    (nothing else checks the default of a setting that nobody sets).
    """
    for key, value in vars(declared).items():
        if not key.startswith("_") and key not in declared.__annotations__ and _is_value(value):
            kind = type(value).__name__
            raise UserError(f"{name}: the setting {key} has no type; write {key}: {kind} = {value!r:.60}")
    try:
        hints = typing.get_type_hints(declared, include_extras=True)
    except NameError as error:
        raise UserError(f"{name}: the type of a setting is unknown ({error}); correct the file") from error
    for field in dataclasses.fields(declared):
        default, hint = field.default, hints[field.name]
        if default is not dataclasses.MISSING and not _is_of(default, hint):
            raise UserError(
                f"{name}: the default of the setting {field.name} is {default!r:.60}, and its type allows: "
                f"{kind_in_words(hint)}; correct the file"
            )


def _is_value(value: object) -> bool:
    """Whether a name in a class holds plain data, and no method, property or class."""
    return isinstance(value, str | int | float | list | tuple | dict)


def _is_of(value: object, hint: Any) -> bool:
    """Whether a value has the type `hint` as it is: a default is not converted."""
    try:
        return bool(TypeAdapter(hint).validate_python(value) == value)
    except ValidationError:
        return False
