"""infer.sh from its knobs to its clean-up, with fake servers and a fake interpreter (tests/shell/)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers_wait import PATIENCE, until
from test_shell_servers import ROOT, Shell, alive, free_port


class Infer(Shell):
    """`infer.sh` in the CPU profile; nothing is installed, fetched or built."""

    module = "src_infer.run"

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.models = {"rearag": "qwen2.5-coder-1.5b"}
        self.arguments = tmp / "arguments"
        stamp = Path(self.env["VENV"]) / "installed-requirements-local.txt"
        stamp.write_bytes((ROOT / "requirements-local.txt").read_bytes())
        del self.env["ANSWER_LLM_PORT"]
        self.env |= {"PROFILE": "cpu", "FAKE_RUN_ARGUMENTS": str(self.arguments)}

    def settings(self) -> dict[str, str]:
        """What the Python entry was called with; the last of equal keys counts."""
        lines = self.arguments.read_text().splitlines()
        assert lines[1] == self.module
        return {"config": lines[2]} | dict(line.split("=", 1) for line in lines[3:])

    def fetched(self) -> list[str]:
        """The models that `src_models.fetch` was asked for, by any of the calls."""
        return sorted({name for call in self._fetch_calls() for name in call.partition("--known")[0].split()})

    def checked(self) -> list[str]:
        """The names that its last call was asked to check before."""
        return self._fetch_calls()[-1].partition("--known")[2].split()

    def _fetch_calls(self) -> list[str]:
        file = Path(f"{self.arguments}.fetched")
        return file.read_text().splitlines() if file.exists() else []

    def pids(self) -> list[int]:
        return [self.pid(name) for name in ("rearag", "retriever")]


@pytest.fixture
def infer(tmp_path: Path) -> Iterator[Infer]:
    made = Infer(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def test_the_program_knows_how_its_run_was_named(infer: Infer) -> None:
    done = infer.run("infer.sh", "RUN_NAME=mine", FAKE_RUN='echo "named $RUN_NAME"')
    assert done.stdout.splitlines()[-1] == "named mine"


def test_starts_runs_and_stops(infer: Infer) -> None:
    done = infer.run("infer.sh", "limits.t_max=8", FAKE_RUN="sleep 0.1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == infer.line("retriever", "RETRIEVER_PORT") + infer.line()
    assert not list(infer.state.glob("*.pid"))
    assert infer.fetched() == ["e5-small", "qwen2.5-coder-1.5b"]
    settings = infer.settings()
    assert settings["config"] == "configs/infer/cpu.yaml"
    assert settings["limits.t_max"] == "8"
    assert settings["n_questions"] == "10"
    assert settings["agent.url"] == settings["reader.url"] == f"http://127.0.0.1:{infer.port}/v1"
    assert settings["retriever"] == f"http://127.0.0.1:{infer.env['RETRIEVER_PORT']}"
    assert settings["run_name"].startswith("rearag-20")


def test_knobs_before_and_after_the_name_from_another_folder(infer: Infer, tmp_path: Path) -> None:
    (tmp_path / "my.jsonl").touch()
    arguments = ("METHOD=closed_book", "N_QUESTIONS=3", "questions=my.jsonl", "top_k=2")
    done = infer.run("infer.sh", *arguments, cwd=tmp_path, RUN_NAME="mine", QUESTION="Who wrote 'a = b'?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == infer.line()  # closed_book needs no retriever
    settings = infer.settings()
    assert settings["questions"] == str(tmp_path / "my.jsonl")
    expected = {"method": "closed_book", "n_questions": "3", "run_name": "mine", "top_k": "2"}
    assert expected.items() <= settings.items()
    assert settings["question"] == "Who wrote 'a = b'?"


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("N_QUESTION=5", "no knob is called N_QUESTION"),
        ("hello", "cannot read 'hello'; write a setting as key=value"),
        ("PROFILE=tpu", "there is no profile 'tpu'"),
        ("VENV=/dev/null/x", "could not make /dev/null/x"),
    ],
)
def test_mistakes_are_one_sentence(infer: Infer, argument: str, words: str) -> None:
    failed = infer.run("infer.sh", argument)
    assert failed.returncode == 2
    assert f"error: {words}" in failed.stderr.splitlines()[-1]
    assert not infer.arguments.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["questions=absent.jsonl"], "no such file: absent.jsonl"),
        (["limits.t_mx=8"], "unknown setting limits.t_mx"),
        (["top_k=three"], "setting 'top_k' is wrong"),
        (["N_QUESTIONS=ten"], "setting 'n_questions' is wrong"),
        (["on_existing=fail", "RUN_NAME=r"], "is already used"),
        (["RUN_NAME=../r"], "run_name '../r' leads to another folder"),
        (["top_k=-3"], "setting 'top_k' is wrong: it must be at least 1 (got -3)"),
        (["METHOD=magic"], "no method 'magic'; there are: auto_rag, "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_settings_are_told_before_anything_is_fetched_or_started(
    infer: Infer, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "runs/r").mkdir(parents=True)
    (tmp_path / "runs/r/config.yaml").touch()
    (tmp_path / "runs/r/.rearag-run").touch()
    failed = infer.run("infer.sh", *arguments, f"runs_dir={tmp_path}/runs", REAL_CHECK="1")
    assert failed.returncode == 2
    assert (failed.stdout, len(failed.stderr.splitlines())) == ("", 1)
    assert failed.stderr.startswith("error: ")
    assert words in failed.stderr
    assert infer.fetched() == []
    assert not infer.state.exists()
    assert not infer.arguments.exists()


@pytest.mark.parametrize("script", ["infer.sh", "data_construct.sh"])
def test_a_corpus_that_is_not_there_is_reported_first(infer: Infer, tmp_path: Path, script: str) -> None:
    failed = infer.run(script, "CORPUS=typo.jsonl", cwd=tmp_path)
    assert failed.returncode == 2
    advice = f"name a file or a folder of documents with CORPUS=, as seen from {tmp_path}"
    assert failed.stderr == f"error: no such corpus: typo.jsonl; {advice}\n"
    assert infer.fetched() == []


def test_paths_start_in_the_callers_folder(infer: Infer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    for name in ("corpus.jsonl", "q.jsonl", "sub/other.jsonl", "5", "reader"):
        (home / name).write_text("{}\n")
    said = "echo CORPUS=$CORPUS; echo OWNER=$REARAG_OWNER"
    arguments = [
        "questions=q.jsonl",
        "top_k=5",
        "answer_from=reader",
        "trained=sub/other.jsonl",
        "runs_dir=runs",
    ]
    done = infer.run(
        "infer.sh",
        "CORPUS=corpus.jsonl",
        "question=what is q.jsonl",
        *arguments,
        cwd=home,
        FAKE_RUN=said,
        PROFILE="gpu",
    )
    assert done.returncode == 0, done.stderr
    settings = infer.settings()
    assert settings["questions"] == f"{home}/q.jsonl"
    assert settings["trained"] == f"{home}/sub/other.jsonl"
    assert settings["runs_dir"] == f"{home}/runs"
    assert (settings["top_k"], settings["answer_from"], settings["question"]) == (
        "5",
        "reader",
        "what is q.jsonl",
    )
    assert f"CORPUS={home}/corpus.jsonl" in done.stdout
    assert "OWNER=" in done.stdout
    assert "OWNER=\n" not in done.stdout


def test_a_folder_of_documents_becomes_the_corpus(infer: Infer, tmp_path: Path) -> None:
    (tmp_path / "manuals").mkdir()
    refused = infer.run("infer.sh", "CORPUS=manuals", cwd=tmp_path)
    assert refused.returncode == 2
    assert "the questions would be those of the sample world" in refused.stderr
    assert "QUESTION=" in refused.stderr
    assert "questions=" in refused.stderr
    refused = infer.run("data_construct.sh", "CORPUS=manuals", cwd=tmp_path)
    assert "give your own with 'build_conv.input_files=[my.jsonl]'" in refused.stderr
    assert infer.fetched() == []
    done = infer.run(
        "infer.sh", "CORPUS=manuals", "QUESTION=Who?", cwd=tmp_path, FAKE_RUN="echo CORPUS=$CORPUS"
    )
    assert done.returncode == 0, done.stderr
    corpus = next(line for line in done.stdout.splitlines() if line.startswith("CORPUS="))
    assert corpus.startswith("CORPUS=indexes/documents/manuals-")
    assert corpus.endswith(".jsonl")
    (tmp_path / "one.txt").write_text("The key is under the mat.")
    done = infer.run(
        "infer.sh", "CORPUS=one.txt", "QUESTION=Who?", cwd=tmp_path, FAKE_RUN="echo CORPUS=$CORPUS"
    )
    assert "CORPUS=indexes/documents/one.txt-" in done.stdout


def test_a_model_server_of_the_users_is_asked_and_none_is_started(infer: Infer) -> None:
    said = "echo KEY=$API_KEY"
    knobs = ["BASE_URL=http://127.0.0.1:11434/v1", "MODEL_NAME=qwen3:8b"]
    done = infer.run("infer.sh", *knobs, PROFILE="", FAKE_RUN=said, OPENAI_API_KEY="s3cr3t")
    assert done.returncode == 0, done.stderr
    settings = infer.settings()
    assert settings["config"] == "configs/infer/server.yaml"
    for role in ("agent", "reader"):
        assert settings[f"{role}.url"] == "http://127.0.0.1:11434/v1"
        assert (settings[f"{role}.model"], settings[f"{role}.key_env"]) == ("qwen3:8b", "API_KEY")
    assert "s3cr3t" not in infer.arguments.read_text()
    assert "KEY=s3cr3t" in done.stdout
    assert infer.fetched() == ["e5-small"]
    assert infer.line() not in done.stdout  # no embedded model server


def test_no_port_starts_a_model_beside_a_server_of_the_users(infer: Infer) -> None:
    """The reader is the user's server too, so that ports of embedded models are nobody's."""
    knobs = ["BASE_URL=http://127.0.0.1:11434/v1", "MODEL_NAME=qwen3:8b", f"ANSWER_LLM_PORT={free_port()}"]
    retriever = infer.line("retriever", "RETRIEVER_PORT")
    done = infer.run("infer.sh", *knobs, PROFILE="")
    assert (done.stdout, done.returncode) == (retriever, 0), done.stderr
    assert infer.fetched() == ["e5-small"]
    same = infer.run("infer.sh", *knobs, PROFILE="", REARAG_PORT=infer.env["RETRIEVER_PORT"])
    assert (same.stdout, same.returncode) == (retriever, 0), same.stderr


def test_the_rag_engine_starts_the_retriever_alone_or_refuses(infer: Infer) -> None:
    done = infer.run("deploy/deploy_rag_engine.sh", "retriever", ANSWER_LLM_PORT=str(free_port()))
    assert (done.stdout, done.returncode) == (infer.line("retriever", "RETRIEVER_PORT"), 0), done.stderr
    for words in (("retreiver",), ("retriever", "demo")):
        refused = infer.run("deploy/deploy_rag_engine.sh", *words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"error: cannot read '{' '.join(words)}'; name 'retriever'")


def test_a_second_server_reads(infer: Infer) -> None:
    knobs = ["BASE_URL=http://a/v1", "READER_BASE_URL=http://b/v1", "READER_MODEL_NAME=small"]
    assert infer.run("infer.sh", *knobs, PROFILE="").returncode == 0
    settings = infer.settings()
    assert settings["reader.url"], settings["reader.model"] == ("http://b/v1", "small")
    assert (settings["agent.key_env"], settings["reader.key_env"]) == ("API_KEY", "READER_API_KEY")


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        (["BASE_URL=localhost:11434"], "BASE_URL is 'localhost:11434'; give the address"),
        (["BASE_URL=http://a/v1", "MODEL=smollm2-135m"], "name the model of http://a/v1 with MODEL_NAME"),
    ],
)
def test_knobs_of_another_server_are_checked(infer: Infer, knobs: list[str], words: str) -> None:
    failed = infer.run("infer.sh", *knobs, PROFILE="")
    assert failed.returncode == 2
    assert words in failed.stderr


def test_runs_that_start_in_the_same_second_have_names_of_their_own(infer: Infer) -> None:
    names = set()
    for _ in range(2):
        assert infer.run("infer.sh", PROFILE="gpu").returncode == 0
        names.add(infer.settings()["run_name"].rpartition("-")[2])
    assert len(names) == 2


def test_the_check_writes_nothing_and_lets_right_settings_pass(infer: Infer, tmp_path: Path) -> None:
    done = infer.run("infer.sh", "METHOD=closed_book", f"runs_dir={tmp_path}/runs", REAL_CHECK="1")
    assert done.returncode == 0, done.stderr
    assert infer.settings()["runs_dir"] == f"{tmp_path}/runs"
    assert not (tmp_path / "runs").exists()  # the run itself is a fake here


def test_help_is_the_head_of_the_file(infer: Infer) -> None:
    shown = infer.run("infer.sh", "--help").stdout
    assert shown.startswith("Answer questions")
    assert "set -E" not in shown
    assert "Methods: auto_rag closed_book" in shown
    assert "__init__" not in shown


def test_help_with_a_method_shows_its_settings() -> None:
    venv = str(Path(sys.executable).parent.parent)
    environment = {"PATH": os.environ["PATH"], "VENV": venv}
    command = ["bash", "infer.sh", "METHOD=deeprag", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deeprag: DeepRAG: sub-questions, each answered" in done.stdout
    assert "method_settings.decision=auto" in done.stdout
    assert "method_settings.force_first=true" in done.stdout
    command[2] = "METHOD=deprag"
    failed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert failed.returncode == 2
    assert "did you mean deeprag?" in failed.stderr


def test_what_no_server_can_mend_is_told_before_any_is_started(infer: Infer) -> None:
    failed = infer.run("infer.sh", "METHOD=dragin", REAL_CHECK="1")
    assert failed.returncode == 2
    assert "set method_settings.model" in failed.stderr
    failed = infer.run(
        "infer.sh", "QUESTION=Who?", "questions=data/sample_world/questions.jsonl", REAL_CHECK="1"
    )
    assert failed.returncode == 2
    assert "are both given, and only one of them is asked" in failed.stderr
    assert not infer.state.exists()


def test_a_failed_run_releases_the_servers_and_keeps_its_status(infer: Infer) -> None:
    assert infer.run("infer.sh", FAKE_RUN="exit 7").returncode == 7
    assert not list(infer.state.glob("*.pid"))


def test_a_server_that_dies_ends_it_and_releases_the_other(infer: Infer) -> None:
    failed = infer.run("infer.sh", FAKE_LLM_DIES="1")
    assert failed.returncode == 2
    assert failed.stdout == infer.line("retriever", "RETRIEVER_PORT")
    assert "error: rearag died while starting" in failed.stderr
    assert not infer.arguments.exists()
    assert not list(infer.state.glob("*.pid"))


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_releases_the_servers(infer: Infer, by: signal.Signals) -> None:
    running = infer.start("infer.sh", FAKE_RUN="exec sleep 3600")
    until(infer.arguments.exists)
    pids = infer.pids()
    if by is signal.SIGKILL:
        running.kill()  # the script alone: its servers are left to their keepers
    else:
        os.killpg(running.pid, by)  # what a terminal or a supervisor does
    assert running.wait(PATIENCE) != 0
    until(lambda: not any(alive(pid) for pid in pids))
    if by is signal.SIGKILL:
        os.killpg(running.pid, signal.SIGKILL)


def test_terminated_alone_it_ends_its_run_too(infer: Infer) -> None:
    running = infer.start("infer.sh", FAKE_RUN="echo $$ > $FAKE_RUN_ARGUMENTS.pid; exec sleep 3600")
    note = Path(f"{infer.arguments}.pid")
    until(lambda: note.exists() and note.read_text().endswith("\n"))
    pids = [int(note.read_text()), *infer.pids()]
    running.terminate()
    assert running.wait(PATIENCE) != 0
    until(lambda: not any(alive(pid) for pid in pids))


def test_two_at_once_share_and_the_last_one_stops(infer: Infer) -> None:
    wait = "while [ ! -e $FAKE_RUN_ARGUMENTS.{} ]; do sleep 0.05; done"
    first = infer.start("infer.sh", FAKE_RUN=wait.format("both"))
    second = infer.start("infer.sh", FAKE_RUN=f"touch $FAKE_RUN_ARGUMENTS.both; {wait.format('end')}")
    assert first.wait(PATIENCE) == 0
    pids = infer.pids()
    assert pids
    assert all(alive(pid) for pid in pids)
    Path(f"{infer.arguments}.end").touch()
    assert second.wait(PATIENCE) == 0
    assert not any(alive(pid) for pid in pids)


def test_servers_deployed_by_hand_are_used_and_left(infer: Infer) -> None:
    model = {"ENGINE": "llama.cpp", "REARAG_MODEL_DIR": "qwen2.5-coder-1.5b"}
    assert infer.run("deploy/deploy.sh", **model).returncode == 0
    pid = infer.pid()
    assert infer.run("infer.sh", METHOD="closed_book").returncode == 0
    assert alive(pid)


def test_a_model_file_is_not_fetched(infer: Infer) -> None:
    assert infer.run("infer.sh", "METHOD=closed_book", MODEL="some/file.gguf").returncode == 0
    assert infer.fetched() == []


def test_the_small_profile_serves_the_shipped_adapter(infer: Infer, tmp_path: Path) -> None:
    done = infer.run("infer.sh", "PROFILE=small", ADAPTER=str(tmp_path / "none"))
    assert f"there is no adapter {tmp_path}/none" in done.stderr
    (tmp_path / "a.gguf").touch()
    done = infer.run("infer.sh", "PROFILE=small", ADAPTER=str(tmp_path / "a.gguf"))
    assert done.returncode == 0, done.stderr
    assert infer.fetched() == ["e5-small", "qwen2.5-coder-0.5b"]
    assert infer.settings()["config"] == "configs/infer/small.yaml"
    assert not list(infer.state.glob("*.pid"))


@pytest.mark.parametrize(
    ("knobs", "profile", "model"),
    [
        ({}, "small", "qwen2.5-coder-0.5b"),
        ({"MODEL": "smollm2-135m"}, "cpu", "smollm2-135m"),
        ({"REARAG_MODEL_DIR": "smollm2-135m"}, "cpu", "smollm2-135m"),
        ({"MODEL": "smollm2-135m", "ADAPTER": "a.gguf"}, "small", "smollm2-135m"),
        ({"MODEL": "smollm2-135m", "PROFILE": "small"}, "small", "smollm2-135m"),
        ({"ADAPTER": "a.gguf"}, "small", "qwen2.5-coder-0.5b"),
        ({"PROFILE": "cpu"}, "cpu", "qwen2.5-coder-1.5b"),
        ({"METHOD": "deeprag"}, "cpu", "qwen2.5-coder-1.5b"),
        ({"METHOD": "deeprag", "ADAPTER": "a.gguf"}, "small", "qwen2.5-coder-0.5b"),
        ({"MODEL": "trained"}, "small", ""),
        ({"MODEL": "untrained"}, "cpu", ""),
        ({"MODEL": "untrained", "PROFILE": "small"}, "small", ""),
    ],
)
def test_a_laptop_runs_what_was_trained_here_unless_another_model_is_named(
    infer: Infer, tmp_path: Path, knobs: dict[str, str], profile: str, model: str
) -> None:
    for made in ("trained/training.json", "untrained/weights", "a.gguf"):
        (tmp_path / made).parent.mkdir(exist_ok=True)
        (tmp_path / made).touch()
    paths = {
        key: str(tmp_path / value) if (tmp_path / value).exists() else value for key, value in knobs.items()
    }
    done = infer.run("infer.sh", **{"PROFILE": "", "VLLM": str(tmp_path / "none"), **paths})
    assert done.returncode == 0, done.stderr
    assert infer.fetched() == ["e5-small", *filter(None, [model])]
    assert infer.settings()["config"] == f"configs/infer/{profile}.yaml"


def test_own_questions_without_a_corpus_are_noted(infer: Infer, tmp_path: Path) -> None:
    (tmp_path / "my.jsonl").touch()
    noted = "name the passages that answer your questions with CORPUS"
    assert noted in infer.run("infer.sh", "questions=my.jsonl", cwd=tmp_path).stderr
    assert noted not in infer.run("infer.sh").stderr
    assert noted not in infer.run("infer.sh", "questions=data/sample_world/questions.jsonl").stderr


def test_a_knob_of_what_the_script_sources_may_be_an_argument(infer: Infer) -> None:
    done = infer.run("infer.sh", "INDEX_CONFIG=configs/index.yaml")
    assert done.returncode == 0, done.stderr


def test_an_untrained_model_scores_the_decisions_of_deeprag(infer: Infer) -> None:
    assert infer.run("infer.sh", METHOD="deeprag", PROFILE="").returncode == 0
    tokenizer = infer.settings()["agent.tokenizer"]
    assert tokenizer.endswith("qwen2.5-coder-1.5b-tokenizer")
    assert infer.run("infer.sh", "agent.tokenizer=mine", METHOD="deeprag", PROFILE="").returncode == 0
    assert infer.settings()["agent.tokenizer"] == "mine"
    assert infer.run("infer.sh", METHOD="self_ask", PROFILE="").returncode == 0
    assert "agent.tokenizer" not in infer.settings()


def test_the_gpu_profile_starts_nothing(infer: Infer) -> None:
    done = infer.run("infer.sh", "PROFILE=gpu")
    assert (done.returncode, done.stdout) == (0, "")
    assert infer.settings()["config"] == "configs/infer/gpu.yaml"
    assert infer.settings()["reader.url"] == "http://127.0.0.1:9893/v1"


def test_the_profile_is_found_out(infer: Infer, tmp_path: Path) -> None:
    stub = tmp_path / "bin/nvidia-smi"
    stub.parent.mkdir()
    stub.symlink_to("/bin/true")
    path = {"PROFILE": "", "PATH": f"{stub.parent}:{infer.env['PATH']}"}
    assert infer.run("infer.sh", **path).returncode == 0
    assert infer.settings()["config"] == "configs/infer/gpu.yaml"
    assert infer.run("infer.sh", **path, VLLM=str(tmp_path / "none")).returncode == 0
    assert infer.settings()["config"] == "configs/infer/small.yaml"


@pytest.mark.parametrize("name", ["search_r1", "r1_searcher", "research", "rearag", "r3rag"])
def test_a_public_checkpoint_is_asked_in_its_own_format(infer: Infer, name: str) -> None:
    knobs = {"PROFILE": "", "BASE_URL": "http://127.0.0.1:8000/v1"}
    done = infer.run("scripts/ask_checkpoint.sh", name, "top_k=4", **knobs)
    assert done.returncode == 0, done.stderr
    settings = infer.settings()
    own = {"rearag": "rearag", "r3rag": "r3rag"}.get(name, "search_r1")
    assert (settings["method"], settings["top_k"]) == (own, "4")
    assert settings["agent.model"].count("/") == 1
    if own == "search_r1":
        assert settings["method_settings.protocol"] == name
        assert settings["method_settings.layout"] == "growing_turn"
    assert settings["prompt.system"] == ("agent_system" if name == "rearag" else "")
    if name == "r3rag":  # as it is evaluated
        evaluated = yaml.safe_load((ROOT / "configs/systems/r3rag/infer.yaml").read_text("utf-8"))
        assert yaml.safe_load(settings["deterministic"]) is evaluated["deterministic"]
        assert int(settings["agent_sampling.max_tokens"]) == evaluated["agent_sampling"]["max_tokens"]
        limits = {key: int(settings[f"limits.{key}"]) for key in evaluated["limits"]}
        assert limits == evaluated["limits"]


def test_a_checkpoint_without_a_gpu_or_of_another_name_is_one_sentence(infer: Infer) -> None:
    failed = infer.run("scripts/ask_checkpoint.sh", "rearag")
    if failed.returncode:  # a machine without a GPU
        assert "no GPU is here" in failed.stderr
    assert "name search_r1" in infer.run("scripts/ask_checkpoint.sh", "gpt").stderr
