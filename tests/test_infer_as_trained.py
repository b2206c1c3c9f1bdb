"""A model of any format is asked as its folder records, from `METHOD` and the folder alone, in the profile of
a laptop; a method that asks in another format is one sentence.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers_methods import ASKED, WORLD

from src_core.errors import UserError
from src_core.protocols.deeprag import INSTRUCTION
from src_core.protocols.deeprag_lines import FINAL, SEARCH
from src_infer.as_trained import load_as_trained, recorded_settings
from src_infer.config import InferConfig
from src_infer.prompts import load_prompt
from src_infer.run import prepare

ROOT = Path(__file__).resolve().parent.parent
SMALL = Path("configs/infer/small.yaml")
PROMPT = {
    "system": "",
    "user_template": "",
    "observation_role": "observation",
    "observation_template": "",
    "legacy_actions": False,
}
ENDS = f"{FINAL} <answer long>In Steventon.</answer long><answer short>Steventon</answer short>"


def trained(folder: Path, trained_format: str, **prompt: Any) -> Path:
    """An adapter's folder with the record that training writes."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"run": "r", "objective": "sft", "prompt": PROMPT | prompt, "format": trained_format}
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def asked(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """One question to a scripted model that writes DeepRAG, as infer.sh asks it with PROFILE=small."""
    replies = [" Who wrote Emma?", SEARCH, " Jane Austen", ENDS]
    (folder / "s.jsonl").write_text(json.dumps({"when": "", "replies": replies}) + "\n")
    rows = [{"id": each.id, "contents": each.contents} for each in WORLD]
    (folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    url = f"scripted:{folder}/s.jsonl"
    command = [sys.executable, "-m", "src_infer.run", str(SMALL), f"question={ASKED}", "run_name=r"]
    command += [f"retriever=toy:{folder}/c.jsonl", f"runs_dir={folder}/runs"]
    return subprocess.run(
        [*command, f"agent.url={url}", f"reader.url={url}", *settings],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["adapter", "adapter.gguf"])
def test_deeprag_needs_the_method_and_the_folder_only(name: str, tmp_path: Path) -> None:
    template = "Please. {question}"
    trained(tmp_path / "adapter", "deeprag", user_template=template)
    (tmp_path / name).touch()
    done = asked(tmp_path, "method=deeprag", f"trained={tmp_path}/{name}")
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "runs/r/trajectories.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (row["answer"], row["status"], row["provenance"]["prompt"]) == ("Steventon", "finished", "student")
    assert [step["action"].get("query") for step in row["steps"]] == ["Who wrote Emma?", None]
    config = load_as_trained(InferConfig, tmp_path / "runs/r/config.yaml", [])
    assert config.protocol == "deeprag"
    assert config.prompt.user_template == template  # of the record, not of the profile
    assert config.prompt.observation_template == ""


def test_a_folder_without_a_record_changes_nothing(tmp_path: Path) -> None:
    assert recorded_settings(tmp_path) == []
    given = load_as_trained(InferConfig, SMALL, [f"trained={tmp_path}"])
    assert given.prompt == load_as_trained(InferConfig, SMALL, []).prompt


@pytest.mark.parametrize(
    ("method", "was", "words"),
    [
        ("rearag", "deeprag", "set METHOD=deeprag for this model"),
        ("rearag", "research", "set METHOD=search_r1 for this model"),
        ("deeprag", "rearag", "set METHOD=rearag for this model"),
        ("r3rag", "deeprag", "set METHOD=deeprag for this model"),
        ("deeprag", "toy", "set METHOD=rearag for this model"),
    ],
)
def test_a_method_that_does_not_fit_is_one_sentence(
    method: str, was: str, words: str, tmp_path: Path
) -> None:
    settings = [f"method={method}", f"trained={trained(tmp_path / 'adapter', was)}"]
    with pytest.raises(UserError) as refused:
        prepare(load_as_trained(InferConfig, SMALL, settings))
    (line,) = str(refused.value).splitlines()
    assert f"was trained for the format {was}, which the method {method} does not ask in; {words}" in line
    prepare(load_as_trained(InferConfig, SMALL, [*settings, "trained="]))


@pytest.mark.parametrize("method", ["rearag", "naive_rag"])
def test_the_shipped_adapter_fits_what_it_is_used_for(method: str) -> None:
    prepare(
        load_as_trained(
            InferConfig, SMALL, [f"method={method}", "trained=adapters/smollm2-135m", "question=x"]
        )
    )


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("prompt.user_template=Other: {question}", "user_template"),
        ("prompt.system=agent_system", "system"),
        ("protocol=rearag", "set protocol=deeprag"),
    ],
)
def test_the_command_line_against_the_record_is_refused(setting: str, words: str, tmp_path: Path) -> None:
    folder = trained(tmp_path / "adapter", "deeprag")
    with pytest.raises(UserError, match=words):
        prepare(load_as_trained(InferConfig, SMALL, ["method=deeprag", f"trained={folder}", setting]))


def test_a_system_prompt_is_found_by_its_text(tmp_path: Path) -> None:
    folder = trained(tmp_path / "adapter", "rearag", system=load_prompt("agent_system"))
    config = load_as_trained(InferConfig, SMALL, [f"trained={folder}", "question=x"])
    assert config.prompt.system == "agent_system"
    prepare(config)
    other = trained(tmp_path / "other", "rearag", system="Of somebody else.")
    with pytest.raises(UserError, match="was trained with system 'Of somebody else"):
        prepare(load_as_trained(InferConfig, SMALL, [f"trained={other}", "question=x"]))


def test_the_tokenizer_of_the_training_scores_decisions(tmp_path: Path) -> None:
    folder = trained(tmp_path / "adapter", "deeprag")
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert load_as_trained(InferConfig, SMALL, [f"trained={folder}"]).agent.tokenizer == ""
        (folder / name).touch()
    assert load_as_trained(InferConfig, SMALL, [f"trained={folder}"]).agent.tokenizer == str(folder)
    own = load_as_trained(InferConfig, SMALL, [f"trained={folder}", "agent.tokenizer=mine"])
    assert own.agent.tokenizer == "mine"


def test_text_of_a_record_is_never_read_as_a_setting(tmp_path: Path) -> None:
    hostile = 'x{question}\nrun_name=y: [!!python/object {"'
    folder = trained(tmp_path / "adapter", "deeprag", user_template=hostile)
    config = load_as_trained(InferConfig, SMALL, ["method=deeprag", f"trained={folder}"])
    assert (config.prompt.user_template, config.run_name) == (hostile, "infer")
    assert INSTRUCTION not in config.prompt.user_template
    trained(tmp_path / "unknown", "../../evil.py")
    assert load_as_trained(InferConfig, SMALL, [f"trained={tmp_path}/unknown"]).protocol == "rearag"
