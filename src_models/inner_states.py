"""What a language model computes inside: entropies, attention, hidden states; a server returns none of them.

The weights run in transformers, beside the server that writes the text: one pass over a text that is already
written gives the entropies and the attention with which the same weights would have written it. Needs torch
and transformers (requirements-train.txt, requirements.txt); nothing is loaded before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from src_core.errors import UserError
from src_core.protocols.records import ChatTurn
from src_core.text import whole_text
from src_core.tokenizer_file import open_tokenizer
from src_models.convert.packages import require_packages

if TYPE_CHECKING:  # a package that most runs do not need
    import numpy as np
    import numpy.typing as npt

PACKAGES = ("torch", "transformers")
MOST_TEXT = 1024
"""Tokens of one text that are read; attention grows with their square."""


class Reading(NamedTuple):
    """One pass over a text of m tokens. `spans` are the characters of each token; `entropies` (m,) float32
    are those of the distributions from which the tokens were drawn, in nats (0 for a first token without a
    prompt); `attention` (heads, m, m) float32 is the last layer's: [h, j, i] is what token j pays to token i.
    """

    spans: list[tuple[int, int]]
    entropies: npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32]


_OPENING = Lock()


def open_inner_states(name: str, method: str) -> InnerStates:
    """The model `name` (see `llm_folder`), loaded once, also when many questions ask for it at the same time;
    `method` is what needs it, for messages. Raises `UserError` where it, torch or transformers is missing.
    """
    require_packages(
        PACKAGES, command=f"src_infer.run CONFIG.yaml method={method} method_settings.model={name}"
    )
    with _OPENING:  # a cache alone would let each of them load the weights
        return _opened(name)


@lru_cache(maxsize=1)
def _opened(name: str) -> InnerStates:
    from src_models.llm_folder import llm_folder

    return InnerStates(llm_folder(name))


class InnerStates:
    """One model in transformers, on the GPU where there is one. Calls may come from several threads."""

    def __init__(self, folder: Path) -> None:
        """Load the weights. Raises `UserError` for a folder that cannot be used."""
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar

        from src_core.chat_tokenizer import ChatTokenizer

        disable_progress_bar()
        self.folder = folder
        self._tokenizer = ChatTokenizer(folder)
        self._spans = open_tokenizer(folder / "tokenizer.json")
        self._spans.encode_special_tokens = True
        self._lock = Lock()
        self._on_gpu = torch.cuda.is_available()
        try:
            # `eager` is the one implementation that returns attention weights.
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.bfloat16 if self._on_gpu else torch.float32, attn_implementation="eager"
            )
            self._last = model.get_decoder().layers[-1].self_attn
        except (OSError, ValueError, ImportError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"the attention of {folder} cannot be read: {reason}; use another model"
            ) from error
        self._model: Any = model.eval().to("cuda" if self._on_gpu else "cpu")

    def prompt_ids(self, turns: Sequence[ChatTurn]) -> list[int]:
        """The ids of a conversation up to the next reply, or to the end of an unfinished reply. Raises
        `UserError` where the chat template cannot show it.
        """
        from src_core.chat_tokenizer import EncodeError

        whole = [
            ChatTurn.of(turn.role, whole_text(turn.content), trained=turn.segments[0].trained)
            for turn in turns
        ]
        try:
            return self._tokenizer.prompt_ids(whole)
        except EncodeError as error:
            raise UserError(f"{error}; use a model with another chat template") from error

    def read(self, text: str, *, prompt: Sequence[int] = (), from_end: bool = False) -> Reading:
        """One pass over `prompt` and the first `MOST_TEXT` tokens of `text`, or the last ones (`from_end`). A
        prompt that is too long for the model loses its beginning.
        """
        import torch

        encoded = self._spans.encode(whole_text(text), add_special_tokens=False)
        kept = slice(-MOST_TEXT, None) if from_end else slice(MOST_TEXT)
        ids, spans = encoded.ids[kept], list(encoded.offsets)[kept]
        if not ids:
            raise ValueError("there is no text to read")
        before = list(prompt)[-max(1, self._context - len(ids)) :]
        first = 0 if before else 1
        caught: list[Any] = []
        hook = self._last.register_forward_hook(lambda _module, _given, out: caught.append(out[1]))
        with self._lock, torch.inference_mode():
            try:
                tokens = torch.tensor([[*before, *ids]], device=self._model.device)
                # The distribution of a token is in the row before it.
                rows = self._model(tokens, use_cache=False, logits_to_keep=len(ids) + 1 - first).logits[
                    0, :-1
                ]
            finally:
                hook.remove()
            # `entr` is 0 where a model gives a token of its vocabulary no chance at all (a logit of -inf).
            doubt = torch.special.entr(torch.softmax(rows.float(), dim=-1)).sum(dim=-1)
            entropies = torch.nn.functional.pad(doubt, (first, 0))
            attention = caught[0][0, :, -len(ids) :, -len(ids) :].float()
        return Reading(spans, entropies.cpu().numpy(), attention.cpu().numpy())

    def last_state(self, prompt: Sequence[int]) -> npt.NDArray[np.float32]:
        """The hidden state (width,) of the last token of `prompt`, after the last layer's norm."""
        import torch

        with self._lock, torch.inference_mode():
            tokens = torch.tensor([list(prompt)[-self._context :]], device=self._model.device)
            state = self._model.get_decoder()(tokens, use_cache=False).last_hidden_state[0, -1]
        found: npt.NDArray[np.float32] = state.float().cpu().numpy()
        return found

    @property
    def _context(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 0) or 1 << 20)
