"""Which names a run may have, and what on_existing=clean may delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers_llm import settings_for

from src_core.caller import CALLER
from src_core.config import load_config
from src_core.errors import UserError
from src_core.rundir import RunDir
from src_core.runfolder import MARKER, run_folder
from src_data.config import load_data_config
from src_data.run import prepare as prepare_construction
from src_eval.config import EvalConfig
from src_eval.run import plan
from src_infer.config import InferConfig
from src_infer.run import prepare

ROOT = Path(__file__).resolve().parent.parent
CONFIG: dict[str, Any] = {"top_k": 3, "run_name": "r", "runs_dir": "runs"}
BAD_NAMES = [
    *("", " ", ".", "..", "/tmp/x", "../thesis", "a/b", "a\\b", "./x", "-rf", "--check", "a\nb", "a\x00b"),
    *("a\x1b[31mb", "x" * 300, "é" * 128, "\udcff", "a\u202eb", "a\tb", "x" * 241),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_or_cannot_be_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UserError) as refused:
        run_folder(str(tmp_path), name)
    message = str(refused.value)
    assert message.startswith("run_name ")
    assert message.isprintable()
    assert len(message) < 250
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis"]


@pytest.mark.parametrize("name", ["r", "rearag-20261129-195723", "lauf-ü.1_b", "中文", "...", "x" * 240])
def test_other_names_are_accepted(name: str, tmp_path: Path) -> None:
    assert run_folder(str(tmp_path), name) == tmp_path / name


@pytest.mark.parametrize("runs_dir", ["y" * 300, "a\x00b"])
def test_a_folder_of_runs_that_cannot_be_is_one_sentence(runs_dir: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runs_dir .* cannot be used"):
        run_folder(f"{tmp_path}/{runs_dir}", "r")


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 300])
def test_every_entry_point_refuses_such_a_name(name: str, tmp_path: Path) -> None:
    given = settings_for(tmp_path, "scripted:none", count=1)
    with pytest.raises(UserError, match="run_name"):
        prepare(load_config(InferConfig, ROOT / "configs/infer/gpu.yaml", [*given, f"run_name={name}"]))
    config, _ = load_data_config(ROOT / "src_data/data_config.cpu.yaml", [f"run_name={name}"])
    with pytest.raises(UserError, match="run_name"):
        prepare_construction(config)


@pytest.mark.parametrize("setting", ["name=../x", "datasets=[{name: a/b, path: q}]", f"name={'x' * 300}"])
def test_an_evaluation_refuses_names_that_lead_elsewhere(setting: str) -> None:
    config = load_config(EvalConfig, ROOT / "configs/eval/smoke.yaml", [setting])
    with pytest.raises(UserError, match="choose one of letters"):
        plan(config)


def test_the_line_of_a_method_file_has_the_name_of_the_file() -> None:
    method = "methods=[tests/data/toy_method.py]"
    (job,) = plan(load_config(EvalConfig, ROOT / "configs/eval/smoke.yaml", [method]))
    assert job.folder.name.endswith("-toy_method")


def test_only_the_folder_of_a_run_is_emptied(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "config.yaml").write_text("a: 1")
    (thesis / "trajectories.jsonl").write_text("")
    for how in ("clean", "resume", "resume_anyway", "fail"):
        with pytest.raises(UserError, match="no run of this project wrote"):
            RunDir(thesis, config=CONFIG, on_existing=how)  # type: ignore[arg-type]
    assert (thesis / "config.yaml").read_text() == "a: 1"
    assert not (thesis / MARKER).exists()


def test_the_folder_of_an_evaluation_is_named_as_that_from_where_the_caller_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clone/runs/eval-two").mkdir(parents=True)
    (tmp_path / "clone/runs/eval-two/config.yaml").write_text("name: two\nmethods: []\ndatasets: []\n")
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setenv(CALLER, str(tmp_path))
    with pytest.raises(UserError, match=r"^clone/runs/eval-two is the folder of an evaluation, not of a run"):
        RunDir(Path("runs/eval-two"), config=CONFIG)


@pytest.mark.parametrize("foreign", ["thesis.tex", "notes", "data.csv", "Trajectories.jsonl", "a\nb"])
def test_a_run_with_files_of_a_person_is_not_emptied(foreign: str, tmp_path: Path) -> None:
    RunDir(tmp_path / "r", config=CONFIG).close()
    (tmp_path / "r" / foreign).write_text("mine")
    with pytest.raises(UserError) as refused:
        RunDir(tmp_path / "r", config=CONFIG, on_existing="clean")
    assert repr(foreign) in str(refused.value)
    assert (tmp_path / "r" / foreign).read_text() == "mine"


def test_a_run_of_before_the_marker_is_known_by_its_settings(tmp_path: Path) -> None:
    old = tmp_path / "r"
    old.mkdir()
    (old / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (old / "trajectories.jsonl").write_text("")
    RunDir(old, config=CONFIG, on_existing="clean").close()
    assert not (old / "trajectories.jsonl").exists()
    assert (old / MARKER).is_file()


def test_a_link_in_a_run_is_removed_and_not_followed(tmp_path: Path) -> None:
    RunDir(tmp_path / "r", config=CONFIG).close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("kept")
    (tmp_path / "r/model").symlink_to(tmp_path / "elsewhere")
    RunDir(tmp_path / "r", config=CONFIG, on_existing="clean").close()
    assert (tmp_path / "elsewhere/file").read_text() == "kept"
    assert not (tmp_path / "r/model").is_symlink()


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00", "just text"])
def test_settings_of_a_run_that_were_destroyed_are_one_sentence_with_a_way_out(
    text: str, tmp_path: Path
) -> None:
    RunDir(tmp_path / "r", config=CONFIG).close()
    (tmp_path / "r/config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config.yaml.*RUN_NAME.*on_existing=clean"):
        RunDir(tmp_path / "r", config=CONFIG)
    RunDir(tmp_path / "r", config=CONFIG, on_existing="clean").close()
