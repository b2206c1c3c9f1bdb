"""The trainer of rerankers: scores of groups to a loss, and the ranking of held-back candidates.

Published: FlagEmbedding 1.2.11 (reference/radio_flashrag.md, section 1.5), which pads every pair of a batch
to the longest, drops the last batch, and repeats negatives where a row has too few. Here pairs of similar
length go through the model together, a short group has fewer members, and the loss is a sum that is divided
once by the questions of the whole optimiser step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from src_core.errors import UserError
from src_retrieval.rerankers.base import Pair
from src_retrieval.rerankers.pair_tokens import PairTokenizer
from src_tasks.retrieval import ndcg_at, recall_at
from src_train.losses import group_loss
from src_train.rerank_rows import Batch, EpochOrder, Group, GroupDraws, padded
from src_train.resumable import ResumableTrainer

_ROWS = 4
"""Validation rows whose pairs are batched together."""


class RerankTrainer(ResumableTrainer):
    """`train_dataset` is a `GroupDraws`; `validation` are rows whose passages are ranked, tokenized by
    `tokens` in batches of `batch_tokens`. `soft_weight`: see `losses.group_loss`.
    """

    def __init__(
        self,
        *args: Any,
        validation: Sequence[Group],
        tokens: PairTokenizer,
        batch_tokens: int,
        soft_weight: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.loss_is_scaled_for_ga = True  # by compute_loss
        self._validation, self._tokens, self._batch_tokens = validation, tokens, batch_tokens
        self._soft_weight = soft_weight
        self._order: EpochOrder | None = None

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """The questions of an optimiser step, over all devices."""
        rows = torch.tensor(float(sum(len(batch["index"]) for batch in batch_samples)))
        return self.accelerator.gather(rows.to(device)).sum()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002 (the library's argument)
        self._order = EpochOrder(len(self.train_dataset), seed=self.args.data_seed or self.args.seed)
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
        scores = group_scores(model, inputs)
        total = group_loss(
            scores, inputs["targets"], soft_weight=self._soft_weight, soft_targets=inputs["soft"]
        )
        if not torch.isfinite(total):
            self._refuse_loss(inputs["index"])
        if self.on_batch is not None:
            self.on_batch(sum(int(one["input_ids"].numel()) for one in inputs["forwards"]))
        loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, {"scores": scores}) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> Any:
        """nDCG@10, recall@2, recall@5 and MRR of the ranked candidates of the validation rows, and the loss
        of their positives, each against all negatives of its row; means over rows.
        """
        del eval_dataset, ignore_keys
        model = self._wrap_model(self.model, training=False)
        model.eval()
        mine = self._validation[self.args.process_index :: self.args.world_size]
        sums: dict[str, float] = {"loss": 0.0, "ndcg@10": 0.0, "recall@2": 0.0, "recall@5": 0.0, "mrr": 0.0}
        done = 0
        for group, scores in self._ranked(model, mine):
            for name, value in row_metrics(group, scores).items():
                sums[name] += value
            done += 1
            if self.on_validation is not None:
                self.on_validation(done, len(mine))
        totals = torch.tensor([float(done), *sums.values()], device=self.args.device)
        rows, *values = self.accelerator.reduce(totals, reduction="sum").tolist()
        logs = {f"{metric_key_prefix}_{name}": value / rows for name, value in zip(sums, values, strict=True)}
        self.log(logs)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        model.train()
        return logs

    def _ranked(self, model: Any, groups: Sequence[Group]) -> Iterator[tuple[Group, torch.Tensor]]:
        """Each row with the scores of its passages, float32 (passages,)."""
        for start in range(0, len(groups), _ROWS):
            chosen = groups[start : start + _ROWS]
            pairs = [Pair(group.query, passage) for group in chosen for passage in group.passages]
            forwards = padded(self._tokens.encode(pairs), self._tokens, batch_tokens=self._batch_tokens)
            flat = torch.empty(len(pairs))
            with torch.no_grad(), self.compute_loss_context_manager():
                for one in forwards:
                    flat[one["places"]] = logits(model, self._prepare_inputs(one)).cpu()
            at = 0
            for group in chosen:
                yield group, flat[at : at + len(group.passages)]
                at += len(group.passages)

    def _refuse_loss(self, index: torch.Tensor) -> None:
        dataset: GroupDraws = self.train_dataset
        places = [dataset.groups[at].place for at in index.tolist()][:5]
        raise UserError(
            f"the loss is not a number at step {self.state.global_step + 1}, on {', '.join(places)}; lower"
            " learning_rate, or take precision=fp32 to see whether the numbers overflow"
        )


def group_scores(model: Any, batch: Batch) -> torch.Tensor:
    """Scores float32 (groups, members) of a batch of `rerank_rows.group_collator`; -inf where there is no
    member.
    """
    held = batch["held"]
    flat = torch.full((held.numel(),), -torch.inf, device=held.device)
    for one in batch["forwards"]:
        flat = flat.index_put((one["places"],), logits(model, one))
    return flat.view(held.shape)


def logits(model: Any, batch: Batch) -> torch.Tensor:
    """One logit per pair, float32 (pairs,)."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    if getattr(getattr(model, "module", model).config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = batch["token_type_ids"]
    found: torch.Tensor = model(**inputs).logits.float().reshape(-1)
    return found


def row_metrics(group: Group, scores: torch.Tensor) -> dict[str, float]:
    """The ranking metrics of a row's passages under `scores`, and its loss. Equal scores rank a negative
    first, so that a model that tells nothing apart gets no credit for the order of the row.
    """
    positives = len(group.pos)
    worst_first = sorted(range(len(scores)), key=lambda at: (-float(scores[at]), at < positives))
    ranking = [str(at) for at in worst_first]
    gold = [str(at) for at in range(positives)]
    best = min(ranking.index(name) for name in gold)
    negatives = torch.logsumexp(scores[positives:], dim=0)
    losses = torch.logaddexp(scores[:positives], negatives) - scores[:positives]
    return {
        "loss": float(losses.mean()),
        "ndcg@10": ndcg_at(ranking, gold, k=10),
        "recall@2": recall_at(ranking, gold, k=2),
        "recall@5": recall_at(ranking, gold, k=5),
        "mrr": 1 / (best + 1),
    }
