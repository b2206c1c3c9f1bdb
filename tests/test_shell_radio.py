"""scripts/radio.sh: its stages, with fake servers and a fake interpreter that writes what a stage would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_shell_infer import Infer
from test_shell_servers import free_port

LABELS = "w0 w0.5 w1 gold"
WRITES = """
for word in "$@"; do case $word in
  run_name=*) name=${word#run_name=} ;;
  runs_dir=*) dir=${word#runs_dir=} ;;
esac; done
case $2:$3 in
  src_train.rerank:*) mkdir -p "$dir/$name/model" ;;
  src_data.radio.run:blend)
    mkdir -p "$dir/$name/groups"
    for label in $LABELS; do printf "$ROWS" > "$dir/$name/groups/$label.train.jsonl"; done ;;
esac
"""
STAGES = ["rationales", "candidates", "scores", "blend", "finetune", "rerank", "eval", "mmlu"]


class RadioScript(Infer):
    """`scripts/radio.sh` in the CPU profile, with run folders of its own."""

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.runs = tmp / "runs"
        self.env |= {"VENV_TRAIN": self.env["VENV"], "RUNS_DIR": str(self.runs), "FAKE_RUN": WRITES}
        self.env |= {"ROWS": "{}\\n", "LABELS": LABELS}
        self.env["ANSWER_LLM_PORT"] = str(free_port())

    def calls(self) -> list[list[str]]:
        """The Python entries that were called, each with its arguments."""
        file = Path(f"{self.arguments}.all")
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def stages(self) -> list[str]:
        """The stages of `src_data.radio.run`, and the other entries."""
        return [call[1] if call[0] == "src_data.radio.run" else call[0] for call in self.calls()]


@pytest.fixture
def radio(tmp_path: Path) -> Iterator[RadioScript]:
    made = RadioScript(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def test_all_stages_in_order_and_nothing_runs_afterwards(radio: RadioScript) -> None:
    done = radio.run("scripts/radio.sh", N_SAMPLES="6")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("== ")] == [
        f"== {s}" for s in STAGES
    ]
    assert radio.stages() == [
        *("rationales", "candidates", "scores", "blend"),
        *["src_train.rerank"] * 5,
        "src_retrieval.ask",
        *("rank", "src_eval.run", "src_eval.run", "src_eval.rerankers"),
        *("mmlu", "src_eval.run", "src_eval.mmlu"),
    ]
    assert not list(radio.state.glob("*.pid"))


def test_the_other_blends_start_from_the_reranker_of_one(radio: RadioScript) -> None:
    done = radio.run("scripts/radio.sh", "blend", "finetune", N_RATIONALES="4", START="gold", OTHER_BASE="")
    assert done.returncode == 0, done.stderr
    trained = [call for call in radio.calls() if call[0] == "src_train.rerank"]
    start = f"model={radio.runs}/radio-gold/model"
    assert ["run_name=radio-gold" in call for call in trained] == [True, False, False, False]
    assert [start in call for call in trained] == [False, True, True, True]
    done = radio.run("scripts/radio.sh", "finetune", START="golden", OTHER_BASE="")
    assert (done.returncode, "START=golden has no groups" in done.stderr) == (2, True)


def test_a_stage_starts_only_the_servers_that_it_asks(radio: RadioScript) -> None:
    retriever, model = radio.line("retriever", "RETRIEVER_PORT"), f"127.0.0.1:{radio.port}"
    done = radio.run("scripts/radio.sh", "candidates")
    assert done.returncode == 0, done.stderr
    assert (retriever in done.stdout, model in done.stdout) == (True, False)
    assert radio.fetched() == ["e5-small"]
    done = radio.run("scripts/radio.sh", "rationales")
    assert done.returncode == 0, done.stderr
    assert (retriever in done.stdout, model in done.stdout) == (False, True)
    done = radio.run(
        "scripts/radio.sh", "rationales", RATIONALE_URL="http://127.0.0.1:9/v1", RATIONALE_MODEL="m"
    )
    assert done.returncode == 0, done.stderr
    assert (retriever in done.stdout, model in done.stdout) == (False, False)
    assert "rationales.endpoint.url=http://127.0.0.1:9/v1" in radio.calls()[-1]


def test_the_scores_take_the_vectors_of_the_retrievers_index(radio: RadioScript) -> None:
    done = radio.run("scripts/radio.sh", "scores", N_READ="5")
    assert done.returncode == 0, done.stderr
    assert {"scores.index=indexes/sample_world", "comparison.read=5"} <= set(radio.calls()[-1])


def test_each_blend_and_the_other_base_get_a_reranker(radio: RadioScript) -> None:
    assert radio.run("scripts/radio.sh", "blend", "finetune", N_SAMPLES="6").returncode == 0
    trained = [call for call in radio.calls() if call[0] == "src_train.rerank"]
    names = [next(word for word in call if word.startswith("run_name=")) for call in trained]
    assert sorted(names) == sorted(f"run_name=radio-{each}" for each in [*LABELS.split(), "other_base"])
    other = trained[-1]
    assert "model=e5-small" in other
    assert f"train=[{{path: {radio.runs}/radio/groups/w0.5.train.jsonl}}]" in " ".join(other)
    assert "validation=[]" in other


def test_a_blend_without_groups_is_named_and_trains_nothing(radio: RadioScript) -> None:
    done = radio.run("scripts/radio.sh", "blend", "finetune", ROWS="", OTHER_BASE="")
    assert done.returncode == 0, done.stderr
    assert "note: the blend gold has no groups, so there is no reranker gold" in done.stdout
    assert radio.stages() == ["blend"]


def test_the_sets_of_a_comparison_are_named_after_their_files(radio: RadioScript, tmp_path: Path) -> None:
    for name in ("a.train", "b.train", "nq.dev"):
        (tmp_path / f"{name}.jsonl").write_text("{}\n", encoding="utf-8")
    train, dev = f"{tmp_path}/a.train.jsonl,{tmp_path}/b.train.jsonl", f"{tmp_path}/nq.dev.jsonl"
    done = radio.run("scripts/radio.sh", "blend", TRAIN=train, DEV=dev, N_SAMPLES="7", N_DEV="3")
    assert done.returncode == 0, done.stderr
    settings = " ".join(radio.calls()[0])
    assert f"questions=[{{path: {tmp_path}/a.train.jsonl}},{{path: {tmp_path}/b.train.jsonl}}]" in settings
    assert f"comparison.datasets=[{{name: nq_dev, path: {tmp_path}/nq.dev.jsonl, n: 3}}]" in settings
    assert "n_samples=7" in settings


def test_the_loop_runs_with_the_retrievers_own_ranking_and_then_reranked(radio: RadioScript) -> None:
    (radio.runs / "radio-w0.5/model").mkdir(parents=True)
    done = radio.run("scripts/radio.sh", "multihop", N_DEV="3", LOOP_PROFILE="cpu")
    assert done.returncode == 0, done.stderr
    runs = [call for call in radio.calls() if call[0] == "src_eval.run" and "--check" not in call]
    profiles = [[word for word in call if word.startswith("profile=")][-1] for call in runs]
    assert profiles == ["profile=none", "profile=tuned"]  # the last of equal settings counts
    assert all("name=radio-multihop" in call and f"runs_dir={radio.runs}" in call for call in runs)
    assert done.stdout.count(radio.line("retriever", "RETRIEVER_PORT")) == 2  # another one with the reranker
    assert not list(radio.state.glob("*.pid"))


def test_the_reranker_alone_stays_until_it_is_stopped(radio: RadioScript) -> None:
    (radio.runs / "radio-w0.5/model").mkdir(parents=True)
    done = radio.run("scripts/radio.sh", "rerank")
    assert done.returncode == 0, done.stderr
    assert "bash deploy/stop.sh retriever" in done.stdout
    assert [file.name for file in radio.state.glob("*.pid")] == ["retriever.pid"]
    assert radio.run("deploy/stop.sh", "retriever").returncode == 0
    assert not list(radio.state.glob("*.pid"))


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["tune"], {}, f"there is no stage 'tune'; name {' '.join(STAGES)} multihop"),
        (["finetune"], {}, "run the stage blend first"),
        (["rerank"], {}, "run the stage finetune first"),
        (["blend"], {"TRAIN": "absent.jsonl"}, "'absent.jsonl' and '' are not both there"),
        (["candidates"], {"RERANKER": "runs/x/model"}, "RERANKER is set, and RADIO starts from"),
        (["blend"], {"NAME": "../x"}, "NAME is '../x', which cannot begin the names"),
        (["blend"], {"PROFILE": "small"}, "PROFILE is 'small'; choose cpu or gpu for radio"),
    ],
)
def test_mistakes_are_one_sentence(
    radio: RadioScript, arguments: list[str], env: dict[str, str], words: str
) -> None:
    failed = radio.run("scripts/radio.sh", *arguments, **env)
    assert failed.returncode == 2
    assert words in failed.stderr.splitlines()[-1]
    assert radio.calls() == []


def test_names_of_models_are_checked_before_the_first_download(radio: RadioScript) -> None:
    done = radio.run("scripts/radio.sh", "scores", OTHER_READER="smollm2-135", OTHER_BASE="BAAI/bge-m3")
    assert done.returncode == 0, done.stderr  # the fake interpreter knows every name
    assert radio.fetched() == ["e5-small", "minilm"]
    assert radio.checked() == ["qwen2.5-coder-0.5b", "smollm2-135"]


def test_two_files_of_one_name_are_two_sets(radio: RadioScript, tmp_path: Path) -> None:
    files = [tmp_path / "nq/test.jsonl", tmp_path / "hotpotqa/test.jsonl"]
    for file in files:
        file.parent.mkdir()
        file.write_text("{}\n")
    named = ",".join(map(str, files))
    assert radio.run("scripts/radio.sh", "blend", TRAIN=named, DEV=named, N_DEV="3").returncode == 0
    (call,) = radio.calls()
    assert "{name: test, path:" in (said := " ".join(call))
    assert "{name: hotpotqa_test, path:" in said
