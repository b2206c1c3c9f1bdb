"""verl's settings for a run of ours, one per line: `python -m src_train.rl.verl_settings rl.yaml`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from src_core.config import load_config
from src_core.errors import UserError, run_main
from src_core.terminal import answer
from src_train.rl.config import RlConfig

ESTIMATORS = {
    "grpo": "grpo",
    "dr_grpo": "grpo",
    "rloo": "rloo",
    "reinforce_pp": "reinforce_plus_plus_baseline",
    "ppo": "gae",
    "step": "step",
}
_MINIBATCH_KEY = "actor_rollout_ref.actor.ppo_mini_batch_size"


def main(arguments: Sequence[str]) -> int:
    """Print them."""
    if len(arguments) != 1:
        raise UserError("usage: .venv/bin/python -m src_train.rl.verl_settings rl.yaml")
    answer("\n".join(verl_settings(load_config(RlConfig, Path(arguments[0])))))
    return 0


def verl_settings(config: RlConfig) -> list[str]:
    """The overrides of verl's configuration (names as in verl 0.9.1). Raises `UserError` for settings that it
    would not follow.
    """
    _require_followed(config)
    learner, advantage = config.learner, config.advantage
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    in_reward = advantage.kl_coef > 0
    reply = config.rollout.max_tokens // 2
    return [
        f"algorithm.adv_estimator={ESTIMATORS[advantage.name]}",
        f"algorithm.norm_adv_by_std_in_grpo={advantage.name == 'grpo'}",
        f"algorithm.gamma={advantage.gamma}",
        f"algorithm.lam={advantage.lam}",
        f"algorithm.use_kl_in_reward={in_reward}",
        f"algorithm.kl_ctrl.kl_coef={advantage.kl_coef}",
        f"data.train_batch_size={config.questions_per_step}",
        f"data.max_prompt_length={config.rollout.max_tokens - reply}",
        f"data.max_response_length={reply}",
        f"data.seed={config.seed}",
        f"{_MINIBATCH_KEY}={max(config.questions_per_step // learner.minibatches, 1)}",
        f"{actor}.ppo_epochs={learner.epochs}",
        f"{actor}.clip_ratio_low={learner.policy.clip_low}",
        f"{actor}.clip_ratio_high={learner.policy.clip_high}",
        f"{actor}.use_kl_loss={learner.policy.kl_coef > 0}",
        f"{actor}.kl_loss_coef={learner.policy.kl_coef}",
        f"{actor}.loss_agg_mode={'seq-mean-token-mean' if learner.loss == 'sequence' else 'token-mean'}",
        f"{actor}.optim.lr={learner.learning_rate}",
        f"{actor}.optim.lr_warmup_steps={learner.warmup_updates}",
        f"{actor}.optim.weight_decay={learner.weight_decay}",
        f"{actor}.optim.betas=[0.9,{learner.beta2}]",
        f"{actor}.ppo_max_token_len_per_gpu={learner.pack_length}",
        f"{actor}.use_dynamic_bsz=True",
        f"{rollout}.n={config.group_size}",
        f"{rollout}.temperature={config.rollout.temperature}",
        f"{rollout}.top_p={config.rollout.top_p}",
        f"trainer.total_training_steps={config.steps}",
        f"trainer.save_freq={config.save_steps}",
        "trainer.logger=[console]",  # the default asks for an account of a tracker
        # The critic is a second model; the one of verl's default would be some other.
        f"critic.model.path={learner.model}",
        f"critic.cliprange_value={learner.value.clip}",
    ]


def _require_followed(config: RlConfig) -> None:
    learner, advantage = config.learner, config.advantage
    if learner.lora is not None:
        raise UserError(
            "verl trains all weights here, and learner.lora is set; set learner.lora=null and a rate for all "
            "weights, such as learner.learning_rate=5e-7"
        )
    if advantage.name == "ppo" and not advantage.across_steps:
        raise UserError(
            "verl's GAE runs over whole rollouts, and advantage.across_steps is false; set "
            "advantage.across_steps=true"
        )
    if advantage.trained_per_group:
        raise UserError("verl trains on all rollouts of a group; set advantage.trained_per_group=0")


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
