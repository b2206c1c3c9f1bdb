"""transformers' `Trainer` with this project's losses: a sum, divided once for the whole optimiser step.

The library does everything else: devices, precision, sharding, accumulation, schedules, checkpoints,
trackers. The divisor (weight of the trained tokens, or number of pairs) is summed over accumulation steps and
devices, so that the gradient does not depend on the split of the batch (`tests/test_train_model.py`; earlier
errors of this kind: transformers #34191 and #35438, trl #2175).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from src_core.errors import UserError
from src_train.logprobs import token_logprobs
from src_train.objectives import LossSum, Objective, Sft
from src_train.packing import collate, join
from src_train.resumable import ResumableTrainer
from src_train.rows import TrainRow


class Packs(Dataset[dict[str, Any]]):
    """The sequences of a run: item i is pack i, joined (see `packing.join`), with `index` for error
    messages.
    """

    def __init__(
        self, rows: Sequence[TrainRow], packs: Sequence[Sequence[int]], *, per_sequence: bool
    ) -> None:
        self._rows = rows
        self._packs = packs
        self._per_sequence = per_sequence

    def __len__(self) -> int:
        return len(self._packs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rows = [self._rows[at] for at in self._packs[index]]
        joined = join(
            [row.encoded for row in rows],
            per_sequence=self._per_sequence,
            values=[row.values for row in rows],
        )
        return {**joined, "index": index}

    def lengths(self) -> list[int]:
        """Tokens of each pack."""
        return [sum(len(self._rows[at].encoded.ids) for at in pack) for pack in self._packs]

    def places(self, index: int) -> list[str]:
        """The origins of the rows of a pack, as `file:place`, each once."""
        return list(dict.fromkeys(self._rows[at].place for at in self._packs[index]))


def collator(pad_id: int) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    """A function that collates packs into a batch of tensors; see `packing.collate`."""

    def make(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        indices = torch.tensor([item.pop("index") for item in items])
        batch = collate(items, pad_id=pad_id)
        return {**{key: torch.from_numpy(value) for key, value in batch.items()}, "index": indices}

    return make


class LengthOrder(Sampler[int]):
    """Sequences of similar length together, in an order that depends on `seed` and epoch only, so that a
    resumed run has the same order as the interrupted one. `size`: sequences of an optimiser step.
    """

    def __init__(self, lengths: Sequence[int], *, size: int, seed: int) -> None:
        self._lengths, self._size, self._seed, self._epoch = list(lengths), size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        return iter(get_length_grouped_indices(self._lengths, self._size, generator=generator))


class MetricSums:
    """Sums of an objective's metrics over batches of this device."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._items = torch.zeros(())

    def add(self, made: LossSum) -> None:
        """Add a batch."""
        for name, value in made.metrics.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._items = self._items.to(made.items.device) + made.items

    def means(self, accelerator: Any) -> dict[str, float]:
        """Means over the items of all devices; called on all of them."""
        if not self._sums:
            return {}
        sums = torch.stack([self._items, *(value.float() for value in self._sums.values())])
        items, *values = accelerator.reduce(sums, reduction="sum").tolist()
        return dict(zip(self._sums, (value / max(items, 1e-9) for value in values), strict=True))


class PackedTrainer(ResumableTrainer):
    """See the module. The model must have been changed by `logprobs.return_logprobs`."""

    def __init__(self, *args: Any, objective: Objective, by_length: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss_is_scaled_for_ga = True  # by compute_loss
        self.objective = objective
        self.by_length = by_length
        self._order: LengthOrder | None = None
        self._metric_sums = MetricSums()

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """The divisor of the loss of an optimiser step, over all devices."""
        divisors = (self.objective.divisor(batch) for batch in batch_samples)
        return self.accelerator.gather(sum(divisors, torch.zeros(())).to(device)).sum()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if not self.by_length:
            return super()._get_train_sampler(train_dataset)
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self._order = LengthOrder(
            self.train_dataset.lengths(), size=size, seed=self.args.data_seed or self.args.seed
        )
        return self._order

    def _run_epoch(self, *, epoch: int, **kwargs: Any) -> Any:
        if self._order is not None:  # the library does not call it in every set-up
            self._order.set_epoch(epoch)
        return super()._run_epoch(epoch=epoch, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The device's share of the step's mean loss. The devices' gradients are averaged, hence the
        factor.
        """
        index = inputs.pop("index")
        tokens = token_logprobs(model, inputs)
        made = self.objective.loss(tokens, inputs)
        if not torch.isfinite(made.total):
            self._refuse_loss(index)
        self._metric_sums.add(made)
        if self.on_batch is not None and model.training:
            self.on_batch(int(inputs["input_ids"].numel()))
        divisor = torch.clamp(num_items_in_batch, min=torch.finfo(torch.float32).tiny)
        loss = made.total / divisor * self.accelerator.num_processes
        return (loss, {"logprobs": tokens.values}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the means of the objective's metrics since the last log to the values of training steps."""
        if "loss" in logs:
            logs |= self._metric_sums.means(self.accelerator)
            self._metric_sums = MetricSums()
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> Any:
        """The mean loss of the validation set, independent of the batches, with the objective's metrics; for
        cross-entropy also as perplexity.
        """
        del ignore_keys
        model = self._wrap_model(self.model, training=False)
        model.eval()
        sums = torch.zeros(2, device=self.args.device)
        metrics = MetricSums()
        batches = self.get_eval_dataloader(eval_dataset)
        with torch.no_grad():
            for number, batch in enumerate(batches, start=1):
                inputs = self._prepare_inputs(batch)
                inputs.pop("index")
                with self.compute_loss_context_manager():
                    made = self.objective.loss(token_logprobs(model, inputs), inputs)
                metrics.add(made)
                sums += torch.stack([made.total.float(), self.objective.divisor(inputs).float()])
                if self.on_validation is not None:
                    self.on_validation(number, len(batches))
        total = self.accelerator.reduce(sums, reduction="sum").tolist()
        values = {"loss": total[0] / max(total[1], 1e-9), **metrics.means(self.accelerator)}
        if isinstance(self.objective, Sft):
            values["perplexity"] = math.exp(min(values["loss"], 80.0))
        logs = {f"{metric_key_prefix}_{name}": value for name, value in values.items()}
        self.log(logs)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        model.train()
        return logs

    def _refuse_loss(self, index: torch.Tensor) -> None:
        dataset: Packs = self.train_dataset
        places = [place for at in index.tolist() for place in dataset.places(at)]
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        named = ", ".join(places[:5]) + more
        raise UserError(
            f"the loss is not a number at step {self.state.global_step + 1}, on {named}; lower"
            " learning_rate, or take precision=fp32 to see whether the numbers overflow"
        )
