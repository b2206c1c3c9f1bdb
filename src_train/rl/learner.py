"""The weights that are trained: log-probabilities before an update, and the update (`checkpoint` keeps them).

One process on one device. The loss is `losses.policy_loss` on packed rows, a sum that is divided once per
optimiser step, as in all training here; several nodes are verl's part (docs/rl.md).
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src_core.errors import UserError
from src_train.logprobs import Batch, TokenLogprobs, of_trained, token_logprobs
from src_train.losses import policy_loss, value_loss
from src_train.model import load_model
from src_train.packing import ADVANTAGES, OLD_LOGPROBS, REF_LOGPROBS, collate, join, loss_mask, pack
from src_train.rl.config import AdvantageConfig, LearnerConfig
from src_train.rl.credit import OLD_VALUES, RETURNS, Floats
from src_train.rows import TrainRow

SERVER_LOGPROBS = "server_logprobs"
"""The name of the values that the server reported, where the learner computes its own."""
Read = Callable[[TokenLogprobs], torch.Tensor]
"""Reads one value per trained token (n,) from a pass of the model."""


class Learner:
    """See the module. `seed` makes updates repeatable."""

    def __init__(
        self,
        config: LearnerConfig,
        advantage: AdvantageConfig,
        folder: Path,
        *,
        device: torch.device,
        seed: int,
    ) -> None:
        self.config = config
        self.device = device
        self.folder = folder
        self.updates = 0
        self._seed = seed
        torch.manual_seed(seed)
        self.model = load_model(folder, config).to(device)
        if config.gradient_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._ppo = advantage.name == "ppo"
        self._kl_in_reward = advantage.kl_coef > 0 and self._ppo
        self.value_head = _value_head(self.model, device) if self._ppo else None
        needs_start = (config.policy.kl_coef > 0 or self._kl_in_reward) and config.reference == "start"
        self._start = {n: w.detach().cpu().clone() for n, w in self.trained()} if needs_start else {}
        self.optimizer = self._make_optimizer()

    @property
    def recomputes(self) -> bool:
        """Whether the learner's own log-probabilities are the denominator of the ratio."""
        return self.config.old_logprobs == "learner"

    def annotate(self, rows: Sequence[TrainRow]) -> list[TrainRow]:
        """The rows with everything that has to be known before the first update: the learner's own
        log-probabilities, those of the reference, and the values of the value head.
        """
        made = list(rows)
        one_update = self.config.minibatches * self.config.epochs == 1
        own: dict[str, Read] = {}  # one pass of the model for all of them
        if self.recomputes:
            made = [_add(row, {SERVER_LOGPROBS: row.values[OLD_LOGPROBS]}) for row in made]
            if not one_update or self._kl_in_reward:
                own[OLD_LOGPROBS] = _logprobs
        if self.value_head is not None:
            own[OLD_VALUES] = self._values
        made = self._filled(made, own)
        if self.config.policy.kl_coef or self._kl_in_reward:
            with self._as_reference():
                made = self._filled(made, {REF_LOGPROBS: _logprobs})
        return made

    def update(self, rows: Sequence[TrainRow]) -> dict[str, float]:
        """Train on all rows: `epochs` times `minibatches` optimiser steps. Returns means over tokens. Raises
        `UserError` for a loss or gradient that is not a number.
        """
        draw = random.Random(f"{self._seed}/{self.updates}")
        torch.manual_seed(self._seed + self.updates)
        self.model.train()
        sums: dict[str, float] = {}
        first = True
        for _ in range(self.config.epochs):
            order = list(range(len(rows)))
            draw.shuffle(order)
            count = min(self.config.minibatches, len(order))
            for at in range(count):
                chosen = [rows[index] for index in order[at::count]]
                for name, value in self._optimise(chosen, first=first).items():
                    sums[name] = sums.get(name, 0.0) + value
                first = False
        steps = sums.pop("steps")
        tokens = sums.pop("tokens")
        norm = sums.pop("gradient") / steps
        server = {name: sums.pop(name) for name in ("mismatch", "drift") if name in sums}
        counted = max(sums.pop("compared", 0.0), 1.0)
        return {
            **{name: value / tokens for name, value in sums.items()},
            **{name: value / counted for name, value in server.items()},
            "gradient_norm": norm,
            "updates": steps,
        }

    def _optimise(self, rows: Sequence[TrainRow], *, first: bool) -> dict[str, float]:
        """One optimiser step; sums over tokens."""
        per_sequence = self.config.loss == "sequence"
        joined = [
            join(
                [rows[at].encoded for at in one],
                per_sequence=per_sequence,
                values=[rows[at].values for at in one],
            )
            for one in pack([len(row.encoded.ids) for row in rows], self._capacity(rows))
        ]
        divisor = sum(float(one["weights"].sum()) for one in joined)
        sums: dict[str, float] = {"steps": 1.0}
        for one in joined:
            batch = self._batch(one)
            with self._autocast():
                tokens = token_logprobs(self.model, batch)
                loss, found = self._loss(tokens, batch, first=first)
            (loss / max(divisor, 1e-9)).backward()
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        if not math.isfinite(sums["loss"]):
            raise UserError(
                f"the loss is not a number at update {self.updates + 1}; lower learner.learning_rate, or "
                "take learner.precision=fp32 to see whether the numbers overflow"
            )
        return {**sums, "gradient": self._step()}

    def _loss(
        self, tokens: TokenLogprobs, batch: Batch, *, first: bool
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The summed loss of one sequence, and sums over its tokens."""
        policy, weights = self.config.policy, of_trained(batch, "weights")
        now, advantages = tokens.values.detach(), of_trained(batch, ADVANTAGES)
        found: dict[str, torch.Tensor] = {"tokens": torch.tensor(float(len(now))), "entropy": -now.sum()}
        old = of_trained(batch, OLD_LOGPROBS)
        if self.recomputes:
            server = of_trained(batch, SERVER_LOGPROBS)
            if self.config.minibatches * self.config.epochs == 1 and not self._kl_in_reward:
                old = now
            if self.config.sampler_cap:
                weights = weights * (old - server).clamp(max=10.0).exp().clamp(max=self.config.sampler_cap)
        else:
            server = old
        if first:  # later updates differ from the server because they were trained
            gap = now - server
            found |= {"mismatch": gap.abs().sum(), "drift": -gap.sum(), "compared": found["tokens"]}
        terms = policy_loss(
            tokens.values,
            old,
            advantages,
            weights=weights,
            clip_low=policy.clip_low,
            clip_high=policy.clip_high,
            kl_coef=policy.kl_coef,
            ref_logprobs=of_trained(batch, REF_LOGPROBS) if REF_LOGPROBS in batch else None,
        )
        found |= {"ratio": terms.ratio, "clip_share": terms.clipped, "kl": terms.kl}
        loss = terms.total
        if self.value_head is not None:
            value = value_loss(
                self._values(tokens),
                of_trained(batch, OLD_VALUES),
                of_trained(batch, RETURNS),
                weights=of_trained(batch, "weights"),
                clip=self.config.value.clip,
            )
            found["value_loss"] = value.detach()
            loss = loss + self.config.value.coef * value
        found["loss"] = loss.detach()
        return loss, found

    def _step(self) -> float:
        """Clip, step, and return the norm of the gradient before clipping."""
        parameters = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        limit = self.config.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
        if not math.isfinite(norm):
            raise UserError(
                f"the gradient is not a number at update {self.updates + 1}; lower learner.learning_rate, or "
                "take learner.precision=fp32"
            )
        self.updates += 1
        warm = min(1.0, self.updates / max(self.config.warmup_updates, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * warm
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _values(self, tokens: TokenLogprobs) -> torch.Tensor:
        assert self.value_head is not None
        assert tokens.states is not None
        return self.value_head(tokens.states.float()).squeeze(-1).float()

    def _filled(self, rows: list[TrainRow], read: Mapping[str, Read]) -> list[TrainRow]:
        """The rows with the values that each of `read` finds for their trained tokens, by name."""
        if not read:
            return rows
        made = list(rows)
        self.model.eval()
        for one in pack([len(row.encoded.ids) for row in rows], self._capacity(rows)):
            encoded = [rows[at].encoded for at in one]
            batch = self._batch(join(encoded, per_sequence=False))
            with torch.no_grad(), self._autocast():
                tokens = token_logprobs(self.model, batch)
                found = {name: of(tokens).float().cpu().numpy() for name, of in read.items()}
            masks = [loss_mask(each) for each in encoded]
            ends = np.cumsum([int(mask.sum()) for mask in masks])[:-1]
            for name, flat in found.items():
                for at, mask, part in zip(one, masks, np.split(flat, ends), strict=True):
                    spread: Floats = np.zeros(len(mask), dtype=np.float32)
                    spread[mask] = part
                    made[at] = _add(made[at], {name: spread})
        return made

    def _capacity(self, rows: Sequence[TrainRow]) -> int:
        """Tokens of one sequence: a row that is longer than `pack_length` has one of its own."""
        return max(self.config.pack_length, *(len(row.encoded.ids) for row in rows))

    def _batch(self, joined: dict[str, Any]) -> Batch:
        batch = collate([joined], pad_id=0)
        return {key: torch.from_numpy(value).to(self.device) for key, value in batch.items()}

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16")

    @contextlib.contextmanager
    def _as_reference(self) -> Iterator[None]:
        """The model of the start, or the base with its adapters off."""
        if self.config.reference == "base":
            with self.model.disable_adapter():
                yield
            return
        now = {name: weight.detach().clone() for name, weight in self.trained()}
        self.load(self._start)
        try:
            yield
        finally:
            self.load(now)

    def trained(self) -> list[tuple[str, Any]]:
        """The weights that are trained, by name."""
        return [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]

    def load(self, values: Mapping[str, torch.Tensor]) -> None:
        """Set the trained weights."""
        with torch.no_grad():
            for name, weight in self.trained():
                weight.copy_(values[name])

    def _make_optimizer(self) -> Any:
        config = self.config
        groups: list[dict[str, Any]] = [
            {"params": [weight for _, weight in self.trained()], "base_lr": config.learning_rate}
        ]
        if self.value_head is not None:
            groups.append(
                {"params": list(self.value_head.parameters()), "base_lr": config.value.learning_rate}
            )
        return torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=(0.9, config.beta2), weight_decay=config.weight_decay
        )


def _value_head(model: Any, device: torch.device) -> Any:
    """A linear layer from hidden states to a number that begins at 0."""
    head = torch.nn.Linear(model.config.hidden_size, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head.to(device)


def _logprobs(tokens: TokenLogprobs) -> torch.Tensor:
    return tokens.values


def _add(row: TrainRow, values: dict[str, Floats]) -> TrainRow:
    return row._replace(values={**row.values, **values})
