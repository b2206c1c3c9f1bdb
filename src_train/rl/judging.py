"""The judge of a run of reinforcement learning, opened for its length."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from src_core.access_token import read_token
from src_core.endpoints import make_model
from src_tasks.reward_judge import RewardJudge, RewardJudgeConfig


@asynccontextmanager
async def opened_judge(config: RewardJudgeConfig) -> AsyncIterator[RewardJudge]:
    """Connect to the judge, and close at the end."""
    model = make_model(
        config.endpoint, connections=config.in_flight, token=read_token(), keys=("judge.endpoint",)
    )
    try:
        await model.ready()
        with RewardJudge(model, config) as judge:
            yield judge
    finally:
        await model.close()
