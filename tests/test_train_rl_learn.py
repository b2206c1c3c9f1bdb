"""Two layers of random weights learn to search before they answer; a run that was killed goes on alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers_rl import letter_model, rl_settings
from tests.helpers_train import python

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_core.errors import RetrieverError, UserError  # noqa: E402
from src_core.types import Trajectory  # noqa: E402
from src_tasks.reward_rules import Scored, is_malformed  # noqa: E402
from src_tasks.rewards import Ending  # noqa: E402
from src_train.rl import loop, play  # noqa: E402
from src_train.rl.attempts import read_attempts  # noqa: E402
from src_train.rl.loop import Run  # noqa: E402
from tests.data.rl_toy_run import main  # noqa: E402

RUN = ("-m", "tests.data.rl_toy_run")


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def same(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log without its times."""
    return {name: value for name, value in line.items() if not name.startswith("seconds")}


@pytest.mark.slow
def test_random_weights_learn_to_search_before_they_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer without a search is right in one of four cases; the letter is in what a search finds."""
    settings = rl_settings(
        tmp_path,
        letter_model(tmp_path / "model"),
        steps=170,
        group_size=16,
        save_steps=60,
        learner={
            "model": str(tmp_path / "model"),
            "lora": None,
            "precision": "fp32",
            "learning_rate": 1.5e-3,
        },
    )
    assert main([str(settings)]) == 0
    lines = log_of(tmp_path / "runs/rl")
    with capsys.disabled():
        sys.stdout.write("\nstep  reward  right  searches  malformed\n")
        for line in lines[::10] + lines[-1:]:
            figures = (line[name] for name in ("reward", "outcome", "searches", "malformed"))
            sys.stdout.write(f"{line['step']:4}  " + "  ".join(f"{value:6.3f}" for value in figures) + "\n")
    first, last = lines[0], lines[-5:]
    assert first["outcome"] < 0.2
    assert first["searches"] < 0.3
    assert sum(line["outcome"] for line in last) / 5 > 0.85
    assert 0.9 < sum(line["searches"] for line in last) / 5 < 1.2
    assert sum(line["malformed"] for line in last) / 5 < 0.1


def test_a_killed_run_goes_on_with_the_same_next_batch(tmp_path: Path) -> None:
    model = letter_model(tmp_path / "model")
    small = {"steps": 4, "keep_every": 1, "questions_per_step": 4, "group_size": 4}
    settings = str(rl_settings(tmp_path, model, **small))
    few = "runtime.in_flight=2"  # so that some rollouts have ended when the process dies
    assert python(*RUN, settings, few, "run_name=whole").returncode == 0
    killed = python(*RUN, settings, few, "run_name=killed", "--die-at", "3")
    assert killed.returncode == -9, killed.stderr
    run, whole = tmp_path / "runs/killed", tmp_path / "runs/whole"
    assert [line["step"] for line in log_of(run)] == [1, 2]
    played = read_attempts(run / "rollouts/step-000003.jsonl", policy_version=2)
    assert 0 < len(played) < 16, "it was killed in the middle of the third step"
    assert python(*RUN, settings, few, "run_name=killed").returncode == 0
    assert [same(line) for line in log_of(run)] == [same(line) for line in log_of(whole)]
    again = read_attempts(run / "rollouts/step-000003.jsonl", policy_version=2)
    assert len(again) == 16
    assert {key: again[key].samples for key in played} == {key: one.samples for key, one in played.items()}
    weights = [(folder / "model/model.safetensors").read_bytes() for folder in (run, whole)]
    assert weights[0] == weights[1], "the same weights, bit for bit"


def test_a_second_run_has_nothing_to_do_and_other_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = str(rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=1))
    assert main([settings]) == 0
    assert (tmp_path / "runs/rl/report.html").is_file()
    assert main([settings, "stop_after_minutes=5"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match="settings"):
        main([settings, "seed=2"])


def test_a_finished_run_goes_on_with_more_steps(tmp_path: Path) -> None:
    settings = str(rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=1))
    assert main([settings]) == 0
    first = (tmp_path / "runs/rl/model/model.safetensors").read_bytes()
    assert main([settings, "steps=2"]) == 0
    assert [line["step"] for line in log_of(tmp_path / "runs/rl")] == [1, 2]
    assert (tmp_path / "runs/rl/model/model.safetensors").read_bytes() != first
    assert main([settings, "steps=2", "run_name=at_once"]) == 0
    weights = [tmp_path / "runs" / name / "model/model.safetensors" for name in ("rl", "at_once")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    with pytest.raises(UserError, match="other settings"):
        main([settings, "steps=1"])


def test_a_run_that_died_behind_its_checkpoint_has_every_line_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = str(rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=2))

    def dying(run: Run) -> None:
        save(run)
        raise KeyboardInterrupt

    save = Run._save
    monkeypatch.setattr(Run, "_save", dying)
    with pytest.raises(KeyboardInterrupt):
        main([settings])
    monkeypatch.setattr(Run, "_save", save)
    assert main([settings]) == 0
    assert [line["step"] for line in log_of(tmp_path / "runs/rl")] == [1, 2]


def test_rollouts_of_weights_that_were_not_saved_are_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run died in its fourth step, and its last checkpoint is that of the second: the rollouts of the
    third step are those of the weights on disk, the ones of the fourth are not.
    """
    settings = str(rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=4, save_steps=2))
    train, plain = Run._train, play.Player.play
    played = [0]

    def dying(run: Run, kept: Any) -> dict[str, float]:
        if run.done == 3:
            raise KeyboardInterrupt
        return train(run, kept)

    async def counted(*given: Any) -> Any:
        played[0] += 1
        return await plain(*given)

    monkeypatch.setattr(Run, "_train", dying)
    with pytest.raises(KeyboardInterrupt):
        main([settings])
    assert len(read_attempts(tmp_path / "runs/rl/rollouts/step-000004.jsonl", policy_version=3)) == 64
    monkeypatch.setattr(Run, "_train", train)
    monkeypatch.setattr(play.Player, "play", counted)
    assert main([settings]) == 0
    assert played == [64]
    assert [line["rollouts"] for line in log_of(tmp_path / "runs/rl")] == [64] * 4


def test_a_judge_without_a_readable_rating_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one that goes on to its last step without ever learning."""
    monkeypatch.setattr(loop, "score", lambda *_: None)
    settings = str(rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=2))
    with pytest.raises(UserError, match=r"64 of 64 rollouts have no reward, more than guards\.max_unrated"):
        main([settings])


def test_other_questions_are_not_drawn_into_a_run(tmp_path: Path) -> None:
    settings = rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=1)
    assert main([str(settings)]) == 0
    questions = tmp_path / "world/questions.jsonl"
    questions.write_text("".join(questions.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match=r"other settings \(questions_digest"):
        main([str(settings)])


def test_other_weights_to_start_from_are_not_trained_on(tmp_path: Path) -> None:
    """As where an earlier stage was trained anew in the same folder."""
    settings = rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=1)
    assert main([str(settings)]) == 0
    letter_model(tmp_path / "model", seed=1)
    with pytest.raises(UserError, match=r"start_digest: other weights to start from"):
        main([str(settings)])


def test_a_retriever_that_dies_costs_only_the_rollouts_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = rl_settings(
        tmp_path, letter_model(tmp_path / "model"), steps=1, guards={"max_failed": 0.0}, group_size=16
    )
    searches = [0]

    def dying(*given: Any) -> Any:
        search = plain(*given)

        async def once(query: str, steps: Any) -> Any:
            searches[0] += 1
            if searches[0] > 3:
                raise RetrieverError("the retriever is gone")
            return await search(query, steps)

        return once

    plain = play.search_of
    monkeypatch.setattr(play, "search_of", dying)
    with pytest.raises(UserError, match="rollouts failed, the first with: the retriever is gone"):
        main([str(settings)])
    run = tmp_path / "runs/rl"
    played = read_attempts(run / "rollouts/step-000001.jsonl", policy_version=0)
    assert 0 < len(played) < 128
    assert not (run / "log.jsonl").exists()
    monkeypatch.setattr(play, "search_of", plain)
    assert main([str(settings)]) == 0
    again = read_attempts(run / "rollouts/step-000001.jsonl", policy_version=0)
    assert len(again) == 128
    assert {key: again[key].samples for key in played} == {key: one.samples for key, one in played.items()}


def test_a_resumed_run_searches_in_the_same_index(tmp_path: Path) -> None:
    settings = rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=1)
    assert main([str(settings)]) == 0
    corpus = tmp_path / "world/corpus.jsonl"
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match="answers as the retriever"):
        main([str(settings), "steps=2"])


def test_a_part_of_each_group_is_trained_on(tmp_path: Path) -> None:
    settings = str(rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=1))
    assert main([settings]) == 0
    assert main([settings, "run_name=part", "advantage.trained_per_group=2"]) == 0
    whole, part = (log_of(tmp_path / "runs" / name)[0] for name in ("rl", "part"))
    assert part["used_groups"] == whole["used_groups"] > 0
    assert 0.2 < part["trained_tokens"] / whole["trained_tokens"] < 0.35, "2 of 8"
    assert part["rollouts"] == whole["rollouts"] == 64


def test_the_page_shows_the_rewards_that_were_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge's verdicts are not in the rollouts."""
    monkeypatch.setattr(
        loop, "score", lambda done, *_: Scored((7.25,) * replies(done), 1, None, Ending.CORRECT)
    )
    settings = rl_settings(tmp_path, letter_model(tmp_path / "model"), steps=1)
    assert main([str(settings)]) == 0
    page = (tmp_path / "runs/rl/report.html").read_text()
    assert page.count('"ending":"correct"') == 64
    assert '"reward":"none"' not in page


def replies(done: Trajectory) -> int:
    return len(done.steps) + is_malformed(done)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "reinforce_pp", "step", "ppo"])
def test_every_estimator_makes_a_step(tmp_path: Path, name: str) -> None:
    learner = {
        "model": str(tmp_path / "model"),
        "lora": {"rank": 4, "alpha": 8},
        "precision": "fp32",
        "policy": {"kl_coef": 0.01},
        "minibatches": 2,
        "epochs": 2,
        "old_logprobs": "learner",
        "learning_rate": 1e-2,
    }
    advantage = {"name": name, "kl_coef": 0.01 if name == "ppo" else 0.0}
    settings = rl_settings(
        tmp_path, letter_model(tmp_path / "model"), steps=2, learner=learner, advantage=advantage
    )
    assert main([str(settings)]) == 0
    lines = log_of(tmp_path / "runs/rl")
    assert [line["updates"] for line in lines] == [4.0, 4.0]
    assert lines[0]["mismatch"] < 1e-4, "sampler and learner are one model"
    assert lines[1]["kl"] > 0
    assert lines[0]["ratio"] != 1.0, "the second minibatch is off-policy"
    if name == "ppo":
        assert lines[0]["value_loss"] > 0
    assert (tmp_path / "runs/rl/adapter/adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["rollout.temperature=0.5"], "must be 1"),
        (["group_size=1"], "raise group_size"),
        (["group_size=1", "advantage.name=reinforce_pp"], "raise group_size, or take ppo$"),
        (["advantage.kl_coef=0.1"], "is for ppo"),
        (["learner.reference=base"], "set it to start"),
        (["learner.lora={dropout: 0.1}"], "set it to 0"),
        (["serving.kind=vllm"], "set learner.lora"),
        (["guards.max_malformed=0.1"], "fine-tuning first"),
        (["guards.min_valid_steps=0.9"], "are steps without a repair, fewer than"),
        (["serving.kind=embedded", "serving.context=100"], "raise serving.context"),
        (["learner.lora={start_from: no/adapter}"], "no folder no/adapter"),
        (["learner.lora={start_from: adapters/smollm2-135m}"], "trained with the format rearag"),
        (["questions=[{path: no.jsonl}]"], "no.jsonl"),
        (["runtime.retriever=http://127.0.0.1:9"], "does not answer: .*127.0.0.1:9.* to resume"),
        (
            ["judge={endpoint: {url: 'http://127.0.0.1:9/v1', model: m}, cache: CACHE}"],
            "127.0.0.1:9/v1.* to resume",
        ),
    ],
)
def test_settings_and_rollouts_that_cannot_work(tmp_path: Path, change: list[str], message: str) -> None:
    settings = rl_settings(tmp_path, letter_model(tmp_path / "model"))
    change = [each.replace("CACHE", str(tmp_path / "cache.jsonl")) for each in change]
    with pytest.raises(UserError, match=message):
        main([str(settings), *change])
