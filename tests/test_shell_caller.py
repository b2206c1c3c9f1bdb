"""Paths of a person start where the person stands, in every script; a checkout has LF line ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def setting(folder: Path, given: str) -> str:
    code = 'CALLER=$1; source deploy/caller.sh; setting_from_caller "$2"'
    done = subprocess.run(
        ["bash", "-c", code, "-", str(folder), given], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("questions=q.jsonl", "questions={}/q.jsonl"),
        ("questions=data/sample_world/questions.jsonl", "questions=data/sample_world/questions.jsonl"),
        ("questions=/q.jsonl", "questions=/q.jsonl"),
        ("questions=typo.jsonl", "questions=typo.jsonl"),
        ("questions=[{path: q.jsonl, n: 5}]", "questions=[{path: {}/q.jsonl, n: 5}]"),
        ("corpus=q.jsonl", "corpus={}/q.jsonl"),
        ("index_dir=ix", "index_dir={}/ix"),
        ("runs_dir=new/runs", "runs_dir={}/new/runs"),
        ("build_conv.input_files=[q.jsonl, 'a b.jsonl']", "build_conv.input_files=[{}/q.jsonl, 'a b.jsonl']"),
        ("train=[{path: q.jsonl, n: 5}]", "train=[{path: {}/q.jsonl, n: 5}]"),
        ("datasets=[{name: q, path: q.jsonl}]", "datasets=[{name: q, path: {}/q.jsonl}]"),
        ("top_k=5", "top_k=5"),
        ("answer_from=reader", "answer_from=reader"),
        ("question=q.jsonl", "question=q.jsonl"),
        ("prompt.user_template=see q.jsonl", "prompt.user_template=see q.jsonl"),
        ("agent.url=http://127.0.0.1:1/v1", "agent.url=http://127.0.0.1:1/v1"),
        ("x=", "x="),
        ("x=$(touch broken); `x` \\ \"'", "x=$(touch broken); `x` \\ \"'"),
    ],
)
def test_a_path_of_the_caller_is_made_whole(given: str, made: str, tmp_path: Path) -> None:
    for name in ("q.jsonl", "5", "reader", "q"):
        (tmp_path / name).write_text("")
    assert setting(tmp_path, given) == made.replace("{}", str(tmp_path))


def test_an_index_of_a_corpus_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    import sys

    environment = {"VENV": str(Path(sys.executable).parent.parent), "PATH": "/usr/bin:/bin"}
    command = ["bash", str(ROOT / "scripts/build_index.sh"), "corpus=typo.jsonl", "index_dir=ix", "type=bm25"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no corpus at typo.jsonl")
    assert not (tmp_path / "ix").exists()
    (tmp_path / "corpus.jsonl").write_text(
        '{"id": "1", "contents": "Velby\\nVelby is the capital of Dunmark."}\n'
    )
    command[2] = "corpus=corpus.jsonl"
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ix").is_dir()


def test_text_files_have_lf_line_ends_in_every_checkout() -> None:
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    kinds = {".sh", ".py", ".yaml", ".txt", ".md", ".toml", ".jsonl", ".js", ".css", ".html"}
    folders = [ROOT / name for name in ("configs", "data/sample_world", "deploy", "docs", "scripts", "tests")]
    places = [
        *ROOT.glob("*"),
        *(path for folder in [*folders, *ROOT.glob("src_*")] for path in folder.rglob("*")),
    ]
    files = [path for path in places if path.suffix in kinds and path.is_file()]
    assert {ROOT / "infer.sh", ROOT / "configs/prompts/final.txt"} <= set(files)
    assert [path for path in files if b"\r\n" in path.read_bytes()] == []
