"""scripts/deeprag.sh: its stages, with fake servers and a fake interpreter that writes what stages write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_shell_infer import Infer
from test_shell_servers import ROOT

WRITES = """
for word in "$@"; do case $word in
  run_name=*) name=${word#run_name=} ;;
  runs_dir=*) dir=${word#runs_dir=} ;;
esac; done
case $2 in
  src_train.run) mkdir -p "$dir/$name/adapter"; : > "$dir/$name/adapter/training.json" ;;
  src_data.deeprag.explore)
    mkdir -p "$dir/$name"
    printf "$ROWS" | tee "$dir/$name/conversations.train.jsonl" > "$dir/$name/pairs.train.jsonl" ;;
esac
"""


class DeepRag(Infer):
    """`scripts/deeprag.sh` in the CPU profile, with run folders of its own."""

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.runs = tmp / "runs"
        self.env |= {"VENV_TRAIN": self.env["VENV"], "RUNS_DIR": str(self.runs), "FAKE_RUN": WRITES}
        self.env |= {"ROWS": "{}\\n"}

    def calls(self) -> list[list[str]]:
        """The Python entries that were called, each with its arguments."""
        file = Path(f"{self.arguments}.all")
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def deeprag(tmp_path: Path) -> Iterator[DeepRag]:
    made = DeepRag(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def ids(file: Path) -> set[str]:
    return {json.loads(line)["id"] for line in file.read_text().splitlines()}


def test_all_stages_in_order_and_nothing_runs_afterwards(deeprag: DeepRag) -> None:
    done = deeprag.run("scripts/deeprag.sh", N_SAMPLES="6")
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in deeprag.calls()] == [
        "src_data.deeprag.explore",
        "src_train.run",
        "src_data.deeprag.explore",
        "src_train.run",
        "src_infer.run",
        *["src_eval.run"] * 3,
    ]
    assert not list(deeprag.state.glob("*.pid"))
    assert deeprag.fetched() == ["qwen2.5-coder-0.5b"]  # BM25 needs no encoder


def test_each_stage_continues_from_the_model_of_the_one_before(deeprag: DeepRag) -> None:
    assert deeprag.run("scripts/deeprag.sh", "stage1", "stage2", "eval").returncode == 0
    first, train1, second, train2, *tables = deeprag.calls()
    adapters = [f"{deeprag.runs}/deeprag-train-stage{n}/adapter" for n in (1, 2)]
    assert f"train=[{{path: {deeprag.runs}/deeprag-stage1/conversations.train.jsonl}}]" in " ".join(train1)
    assert not any(word.startswith("runtime.trained=") for word in first)
    assert f"runtime.trained={adapters[0]}" in second
    assert f"lora.start_from={adapters[0]}" in train2
    profiles = [word for call in tables for word in call if word.startswith("profile=")]
    assert profiles == ["profile=base", "profile=stage1", "profile=stage2"]
    assert deeprag.run("scripts/deeprag.sh", "rl", RL_STEPS="2").returncode == 0
    online = deeprag.calls()[-1]
    assert online[0] == "src_train.rl"
    assert {f"learner.lora.start_from={adapters[0]}", "steps=2"} <= set(online)
    assert [any(adapters[1] in word for word in call) for call in tables] == [False, False, True]


def test_runs_know_that_the_script_passes_no_settings_on(deeprag: DeepRag) -> None:
    done = deeprag.run("scripts/deeprag.sh", "infer", FAKE_RUN='echo "system: $REARAG_SYSTEM"')
    assert done.returncode == 0, done.stderr
    assert "system: deeprag" in done.stdout.splitlines()


def test_questions_for_training_and_for_the_table_are_not_the_same(deeprag: DeepRag) -> None:
    assert deeprag.run("scripts/deeprag.sh", "index").returncode == 0
    train, dev = (ids(deeprag.runs / f"deeprag-data/{name}.jsonl") for name in ("train", "dev"))
    assert not train & dev
    assert train | dev == ids(ROOT / "data/sample_world/questions.jsonl")


def test_without_a_right_path_nothing_is_trained_and_the_table_has_the_base_model(deeprag: DeepRag) -> None:
    done = deeprag.run("scripts/deeprag.sh", ROWS="")
    assert done.returncode == 0, done.stderr
    assert "note: no path with a right answer was found, so stage1 trains nothing" in done.stdout
    assert [call[0] for call in deeprag.calls()] == [
        "src_data.deeprag.explore",
        "src_infer.run",
        "src_eval.run",
    ]


@pytest.mark.parametrize("stage", ["stage2", "rl"])
def test_a_stage_without_the_model_before_it_says_which_stage_makes_it(deeprag: DeepRag, stage: str) -> None:
    done = deeprag.run("scripts/deeprag.sh", stage)
    assert done.returncode == 0, done.stderr
    made = f"{deeprag.runs}/deeprag-train-stage1/adapter"
    words = f"no model of Stage I in {made} for {stage} to start from; run stage1"
    assert words in done.stdout
    assert deeprag.calls() == []


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["stage3"], {}, "there is no stage 'stage3'; name index launch stage1 stage2 infer eval rl"),
        (["stage1"], {"TRAIN": "absent.jsonl"}, "'absent.jsonl' and '' are not both there"),
        (["stage1"], {"PROFILE": "small"}, "PROFILE is 'small'; choose cpu or gpu for deeprag"),
    ],
)
def test_mistakes_are_one_sentence(
    deeprag: DeepRag, arguments: list[str], env: dict[str, str], words: str
) -> None:
    failed = deeprag.run("scripts/deeprag.sh", *arguments, **env)
    assert failed.returncode == 2
    assert words in failed.stderr.splitlines()[-1]
    assert deeprag.calls() == []
