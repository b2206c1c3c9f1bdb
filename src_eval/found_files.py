"""Reads the configuration of an evaluation, and finds the files that it names: methods, question files,
explorations, corpus, published numbers, the configuration of the runs and files in their settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from src_core.config import load_config
from src_core.errors import UserError
from src_core.plugins import is_file
from src_eval.config import DatasetSpec, EvalConfig, MethodSpec
from src_tasks.readers.publishers import missing_file

EMBEDDED = ("cpu", "small", "server")
"""The profiles whose servers scripts/evaluate.sh starts, with an index of `corpus`."""


_SCHEMES = ("ranked:", "toy:", "scripted:")
"""What stands before a path in the value of `retriever` or of a model."""


def load_evaluation(path: Path, overrides: Sequence[str] = ()) -> EvalConfig:
    """The configuration in the file `path` with the `key=value` overrides, its files found and its names
    checked. Raises `UserError` as `load_config`, `with_found_files` and `EvalConfig.require_names` do.
    """
    config = with_found_files(load_config(EvalConfig, path, overrides), path)
    config.require_names()
    return config


def with_found_files(config: EvalConfig, file: Path) -> EvalConfig:
    """The configuration of `file` with each relative path as it is found: beside the file, in the folder of
    the caller, or in the repository (the working directory), where it stays relative. Raises `UserError` for
    a missing question file or a missing corpus to be indexed; the message names the folders, where such a
    file can be downloaded, and the setting to change. The shipped configurations name both files, but they
    are not shipped.
    """
    folders = list(dict.fromkeys([file.resolve().parent, Path(config.caller or ".").resolve(), Path.cwd()]))
    datasets = tuple(_found_set(dataset, folders) for dataset in config.datasets)
    methods = tuple(_found_line(line, folders) for line in config.lines)
    corpus = _found(config.corpus, folders)
    given = bool(os.environ.get("CORPUS"))  # scripts/evaluate.sh then indexes that corpus
    if config.profile in EMBEDDED and corpus and not given and not Path(corpus).exists():
        raise UserError(
            f"no such file: {_searched(corpus, folders)}; bash scripts/make_corpus.sh builds a corpus from "
            "the passages that the publishers' question files hold: set corpus (or CORPUS=) to one"
        )
    expected = _found(config.expected, folders)
    return replace(
        config,
        infer=_found(config.infer, folders),
        settings=_found_settings(config.settings, folders),
        methods=methods,
        datasets=datasets,
        corpus=corpus,
        expected=expected,
    )


def _found_line(line: MethodSpec, folders: list[Path]) -> MethodSpec:
    method = _found(line.method, folders) if is_file(line.method) else line.method
    return replace(line, method=method, settings=_found_settings(line.settings, folders))


def _found_settings(settings: Sequence[str], folders: list[Path]) -> tuple[str, ...]:
    """`key=value` settings whose values that are paths are found. A path has a slash or an ending, so that a
    word (`constrain=off`) is never taken for a file of that name.
    """
    found = []
    for setting in settings:
        key, sign, value = setting.partition("=")
        scheme = next((each for each in _SCHEMES if value.startswith(each)), "")
        path = value.removeprefix(scheme)
        is_path = "/" in path or Path(path).suffix
        found.append(f"{key}{sign}{scheme}{_found(path, folders)}" if is_path else setting)
    return tuple(found)


def _found_set(dataset: DatasetSpec, folders: list[Path]) -> DatasetSpec:
    path = _found(dataset.path, folders)
    if not Path(path).exists():
        where = _searched(dataset.path, folders)
        raise missing_file(Path(path), f"the path of {dataset.name} under datasets", shown=where)
    return replace(dataset, path=path, trees=tuple(_found(tree, folders) for tree in dataset.trees))


def _found(path: str, folders: Iterable[Path]) -> str:
    """The path in the first of the folders that has it; as it is where none has."""
    if not path or Path(path).is_absolute():
        return path
    for folder in folders:
        if (folder / path).exists():
            return path if folder == Path.cwd() else str(folder / path)
    return path


def _searched(path: str, folders: Iterable[Path]) -> str:
    return path if Path(path).is_absolute() else f"{path} (looked for in {', '.join(map(str, folders))})"
