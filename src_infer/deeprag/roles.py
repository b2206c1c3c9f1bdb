"""The roles of DeepRAG (arXiv 2502.01142; reference deeprag.md, sections 4, 6 and 10) on a prefix (`Node`):
propose a sub-question, decide between search and own knowledge, answer either way, end.

The method (`methods.deeprag`) plays one path, the tree search both branches. One model plays all roles, or a
teacher proposes sub-questions and reads documents while the target model answers from its own knowledge and
ends (`players`).

How we differ from the release: the decision compares the log-probabilities of the two lines that may follow
the sub-question, so that no word of a sub-question starts a search; the line `So the final answer is:` that
the model wrote is not asked for again; `[No related Info]` and repeated sub-questions are outcomes of their
own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from src_core.errors import ContextFullError
from src_core.passage_view import PassageView
from src_core.protocols.deeprag import DeepRag, conclusion_of, parse_proposal
from src_core.protocols.deeprag_lines import (
    ANSWER,
    FINAL,
    FOLLOW_UP,
    LONG,
    NO_INFO,
    NO_SHORT,
    SEARCH,
    SHORT,
    ask_line,
)
from src_core.protocols.records import ParsedStep, ParseError
from src_core.types import NO_USAGE, DirectAnswer, Finish, Passage, Search, Step, Usage
from src_infer.deeprag.records import Decision, DecisionRule, Proposal, RoleSettings
from src_infer.episode import Ledger, Node
from src_infer.policy import Policy
from src_infer.repeats import asked_before

Found = TypeVar("Found")
PROPOSE, DECIDE, DIRECT, CONCLUDE, FINISH = range(5)
"""The numbers of the roles in the seeds of their calls."""
READ_BEGUN = "Answer:"


@dataclass(frozen=True, slots=True)
class Roles:
    """`proposer` writes sub-questions; `answerer` decides, answers from its own knowledge and ends. Retrieved
    documents are read by `reader` on their own, or (None) by the answerer inside the transcript. Malformed
    replies are asked for again, `tries` times in all; each role returns None when none could be read. All
    roles raise `BoundaryError`, and add the usage of each call to the ledger at once.
    """

    proposer: Policy
    answerer: Policy
    reader: Policy | None
    retrieve: Callable[[str], Awaitable[tuple[Passage, ...]]]
    view: PassageView
    settings: RoleSettings
    tries: int

    @property
    def rule(self) -> DecisionRule:
        """The rule of decisions in effect."""
        if self.settings.decision != "auto":
            return self.settings.decision
        return "logprob" if self.answerer.can_score else "generate"

    async def propose(self, node: Node, *, ledger: Ledger) -> Proposal | None:
        """The next sub-question, or the end."""
        begun = FOLLOW_UP if self.settings.force_first and not node.steps else ""
        call = _Call(self.proposer, node, ledger, PROPOSE, self.tries)
        stop = () if self.proposer is self.answerer else (LONG,)  # the answerer ends, not the proposer
        found: ParsedStep | str | None = await call.until(begun, parse_proposal, stop=stop)
        if found is None:
            return None
        if isinstance(found, str):
            return Proposal(found, None, call.reply, call.failures, call.usage)
        return Proposal("", found, call.reply, call.failures, call.usage)

    async def decide(self, node: Node, sub_question: str, *, ledger: Ledger) -> Decision:
        """Whether to search. A written decision that cannot be read is a search."""
        rule = self.rule
        if rule in ("always", "never"):
            return Decision(rule == "always")
        asked = ask_line(sub_question)
        if rule == "logprob":
            pair = await self.answerer.score(node, (f"{SEARCH}\n", ANSWER), written=asked)
            search, direct = (sum(each) for each in pair)
            return Decision(search - direct > self.settings.threshold, search, direct)
        call = _Call(self.answerer, node, ledger, DECIDE, self.tries)
        found = await call.until(asked, self.answerer.protocol.parse)
        written = found.action.answer if found and isinstance(found.action, DirectAnswer) else ""
        return Decision(not written, written=written, usage=call.usage)

    async def answer_directly(
        self, node: Node, sub_question: str, *, ledger: Ledger, written: str = ""
    ) -> Step | None:
        """The step that answers from the model's own knowledge; `written` is an answer that was written with
        the decision.
        """
        begun = time.perf_counter()
        call = _Call(self.answerer, node, ledger, DIRECT, self.tries)
        if not written:
            found = await call.until(f"{ask_line(sub_question)}{ANSWER}", self.answerer.protocol.parse)
            if found is None or not isinstance(found.action, DirectAnswer):
                return None
            written = found.action.answer
        return call.step(DirectAnswer(sub_question, written), begun)

    async def answer_after_search(self, node: Node, sub_question: str, *, ledger: Ledger) -> Step:
        """The step that searches; its conclusion is `[No related Info]` where the documents hold no answer
        (`says_nothing`).
        """
        begun, n = time.perf_counter(), len(node.steps) + 1
        query = " ".join(sub_question.split()[-self.settings.query_words :])
        passages = await self.retrieve(query)
        shown = self._protocol.render_documents(passages, view=self.view, query=query)
        step = Step(n, "", Search(sub_question), observation=shown, passages=passages)
        call, said = await self._conclude(node, step, ledger)
        return replace(call.step(step.action, begun), observation=shown, passages=passages, conclusion=said)

    async def answer_anyway(self, node: Node, step: Step, *, ledger: Ledger) -> Step:
        """A search whose documents held no answer, with the model's own answer as its conclusion where it
        has one.
        """
        assert isinstance(step.action, Search)
        own = await self.answer_directly(node, step.action.query, ledger=ledger)
        if own is None or not isinstance(own.action, DirectAnswer):
            return step
        seconds, usage = step.seconds + own.seconds, step.usage + own.usage
        return replace(step, conclusion=own.action.answer, seconds=seconds, usage=usage)

    async def finish(self, node: Node, *, ledger: Ledger, proposal: Proposal | None = None) -> Step | None:
        """The final line: what the answerer wrote in its `proposal`, else asked for. A line that stops after
        the long answer, as small models write it, is continued to the short one.
        """
        begun = time.perf_counter()
        call = _Call(self.answerer, node, ledger, FINISH, self.tries)
        found = proposal.end if proposal and self.proposer is self.answerer else None
        if found is None:
            found = await call.until(f"{FINAL} {LONG}", self.answerer.protocol.parse)
        if found is not None and found.thought and NO_SHORT in found.parse_fixes:
            begun_line = f"{FINAL} {LONG}{found.thought}</answer long>{SHORT}"
            found = await call.until(begun_line, self.answerer.protocol.parse) or found
        if found is None or not isinstance(found.action, Finish):
            return None
        step = call.step(found.action, begun)
        return replace(step, thought=found.thought, parse_fixes=found.parse_fixes)

    def repeat(self, node: Node, sub_question: str) -> Step | None:
        """For a sub-question that the prefix has already: the step that repeats its answer without a call,
        marked as repeated. None for a new one.
        """
        before = asked_before(sub_question, node.steps, directly=True)
        if before is None:
            return None
        known = before.action.answer if isinstance(before.action, DirectAnswer) else before.conclusion
        return Step(len(node.steps) + 1, "", DirectAnswer(sub_question, known or NO_INFO), repeated=True)

    @property
    def _protocol(self) -> DeepRag:
        assert isinstance(self.answerer.protocol, DeepRag)
        return self.answerer.protocol

    async def _conclude(self, node: Node, step: Step, ledger: Ledger) -> tuple[_Call, str]:
        """The call that read the documents of `step`, and what it says."""
        if self.reader is None:
            call = _Call(self.answerer, node.child(step), ledger, CONCLUDE, self.tries)
            begun = ANSWER
        else:
            assert isinstance(step.action, Search)
            call = _Call(self.reader, Node(step.action.query, step), ledger, CONCLUDE, self.tries)
            begun = READ_BEGUN
        call.n = step.n
        try:
            said = await call.until(begun, _conclusion)
        except ContextFullError:
            said = None
        return call, NO_INFO if said is None or NO_INFO.lower() in said.lower() else said


@dataclass(slots=True)
class _Call:
    """The calls of one role on one prefix, until a reply can be read."""

    policy: Policy
    node: Node
    ledger: Ledger
    role: int
    tries: int
    n: int = 0
    reply: str = ""
    failures: int = 0
    usage: Usage = NO_USAGE

    async def until(
        self, begun: str, read: Callable[[str], Found | ParseError], *, stop: Sequence[str] = ()
    ) -> Found | None:
        """What `read` finds in a reply that continues `begun`; None where all tries are malformed."""
        steps = self.node.steps
        self.n = self.n or len(steps) + 1
        for attempt in range(self.tries):
            reply = await self.policy.write(
                self.node.question,
                steps,
                n=self.n,
                attempt=attempt,
                part=self.role,
                begun=begun,
                stop=stop,
            )
            self.usage += reply.usage
            self.ledger.usage += reply.usage
            found = read(reply.text)
            if not isinstance(found, ParseError):
                self.reply = reply.text
                return found
            self.failures += 1
            self.ledger.reject(reply, found)
        return None

    def step(self, action: Search | DirectAnswer | Finish, begun: float) -> Step:
        """The step that these calls made."""
        return Step(
            n=self.n or len(self.node.steps) + 1,
            thought="",
            action=action,
            reply=self.reply,
            parse_failures=self.failures,
            usage=self.usage,
            seconds=time.perf_counter() - begun,
        )


def _conclusion(text: str) -> str | ParseError:
    """The first line of an answer, without its label."""
    said = conclusion_of(text.strip().removeprefix(READ_BEGUN))
    return said or ParseError("no_answer", "the reply says nothing")
