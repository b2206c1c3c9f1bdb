"""An import touches a run directory only once its file was read, and only its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_runs import finished

GOOD = {"question": "Who?", "answers": ["Emma"], "output": "Thought: I know it now.\nAction: finish[Emma]\n"}


def convert(source: Path, *settings: str) -> tuple[int, str]:
    done = finished("src_data.convert_trajectories.__main__", str(source), *settings)
    return done.returncode, done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("broken", ["missing", "empty", "folder", "torn", "no rows", "no trajectory"])
def test_a_file_that_cannot_be_read_leaves_the_import_as_it_was(broken: str, tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(GOOD) + "\n")
    where = (f"runs_dir={tmp_path}/runs", "run_name=i")
    assert convert(good, *where)[0] == 0
    before = contents(tmp_path / "runs/i")
    bad = tmp_path / "bad.json"
    if broken == "folder":
        bad.mkdir()
    elif broken != "missing":
        bad.write_text(
            {
                "empty": "",
                "torn": f"[{json.dumps(GOOD)}, {{",
                "no rows": "[]",
                "no trajectory": '["x", {"question": "Who?", "output": "none"}]',
            }[broken]
        )
    status, said = convert(bad, *where)
    assert status == 2, said
    assert "Traceback" not in said
    assert contents(tmp_path / "runs/i") == before
    assert convert(good, *where)[0] == 0  # an import onto itself replaces it
    assert len((tmp_path / "runs/i/trajectories.jsonl").read_text().splitlines()) == 1


def test_the_run_of_something_else_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(GOOD) + "\n")
    costly = tmp_path / "runs/costly"
    costly.mkdir(parents=True)
    (costly / "config.yaml").write_text("run_name: costly\nruns_dir: runs\nmethod: rearag\n")
    (costly / "trajectories.jsonl").write_text("{}\n")
    before = contents(costly)
    status, said = convert(good, f"runs_dir={tmp_path}/runs", "run_name=costly")
    assert (status, "is a run that an import did not make" in said) == (2, True)
    assert contents(costly) == before


def test_rows_of_a_run_may_be_imported_onto_an_earlier_import_of_them(tmp_path: Path) -> None:
    where = (f"runs_dir={tmp_path}/runs", "run_name=i")
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(GOOD) + "\n")
    convert(good, *where)
    inside = (
        tmp_path / "runs/i/conversations_validity.json"
    )  # the file that is read lies in the folder itself
    inside.write_text(json.dumps([GOOD, {**GOOD, "question": "Who else?"}]))
    assert convert(inside, *where)[0] == 0
    assert len((tmp_path / "runs/i/trajectories.jsonl").read_text().splitlines()) == 2


def test_another_file_of_the_same_name_does_not_replace_an_import(tmp_path: Path) -> None:
    one, other = tmp_path / "good.jsonl", tmp_path / "b/good.jsonl"
    other.parent.mkdir()
    one.write_text(json.dumps(GOOD) + "\n")
    other.write_text(json.dumps(GOOD | {"question": "Who else?"}) + "\n")
    where = f"runs_dir={tmp_path}/runs"
    assert convert(one, where)[0] == 0
    before = contents(tmp_path / "runs/import-good")
    status, said = convert(other, where)
    assert (status, "is the import of another file" in said) == (2, True)
    assert contents(tmp_path / "runs/import-good") == before
    assert convert(other, where, "run_name=import-good")[0] == 0  # named: replaced


def test_a_runs_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(GOOD) + "\n")
    status, said = convert(good, f"runs_dir={good}")
    assert (status, "Traceback" in said, "choose another folder" in said) == (2, False, True)
