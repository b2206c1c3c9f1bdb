"""What the roles of DeepRAG take and give: settings, proposals, decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from src_core.config import Positive, config_class
from src_core.protocols.deeprag_lines import NO_INFO
from src_core.protocols.records import ParsedStep
from src_core.types import NO_USAGE, Search, Step, Usage

DecisionRule = Literal["auto", "logprob", "generate", "always", "never"]


@config_class
class RoleSettings:
    """How the roles are played.

    `decision` compares the log-probabilities of the two decisions (`logprob`), lets the model write one
    (`generate`), always searches or never; `auto` is `logprob` where the server scores tokens, else
    `generate`. A sub-question is searched where log P(search) - log P(direct) is above `threshold`.
    `force_first`: the first reply has to be a sub-question. `no_info` says what follows where the documents
    hold no answer: `keep` keeps `[No related Info]` as the intermediate answer, `direct` puts the model's own
    answer in its place. A query is the last `query_words` words of the sub-question (the release: 64 tokens).
    """

    decision: DecisionRule = "auto"
    threshold: float = 0.0
    force_first: bool = True
    no_info: Literal["keep", "direct"] = "keep"
    query_words: Positive = 64


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next sub-question after a prefix, "" where the model ends; then `end` is what it wrote. `failures`
    counts malformed replies before it.
    """

    sub_question: str
    end: ParsedStep | None = None
    reply: str = ""
    failures: int = 0
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a sub-question is searched. `search` and `direct` are the log-probabilities of the two
    decisions, None where they were not computed; `written` is the direct answer that the model wrote as its
    decision.
    """

    searches: bool
    search: float | None = None
    direct: float | None = None
    written: str = ""
    usage: Usage = NO_USAGE


def says_nothing(step: Step) -> bool:
    """Whether the documents of a search held no answer."""
    return isinstance(step.action, Search) and step.conclusion == NO_INFO
