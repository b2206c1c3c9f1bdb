"""The roles of DeepRAG as what a tree search asks for (`search_tree`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from src_core.types import NO_USAGE, Step
from src_infer.deeprag.records import Proposal, says_nothing
from src_infer.deeprag.roles import Roles
from src_infer.episode import Ledger, Node
from src_infer.search_record import Asked, Expander, Failure

MALFORMED = "malformed"
NO_INFO = "no_related_info"


@dataclass(frozen=True, slots=True)
class RolesExpander(Expander):
    """Both branches of the roles. A branch ends where all tries of a reply are malformed, and where documents
    hold no answer (unless `no_info` is `direct`). After a sub-question that the prefix has already, the final
    answer is asked for, since both branches would only repeat what is known.

    A reader that sees no transcript is asked once for each sub-question of a tree. An expander is for one
    question.
    """

    roles: Roles
    _read: dict[str, Step] = field(default_factory=dict)

    async def propose(self, node: Node) -> Asked | Failure:
        """The next sub-question, or the end, with the final answer where it was written."""
        ledger = Ledger()
        found = await self.roles.propose(node, ledger=ledger)
        if found is None:
            return Failure(MALFORMED, ledger.usage)
        if found.sub_question:
            repeats = self.roles.repeat(node, found.sub_question) is not None
            return Asked("" if repeats else found.sub_question, ledger.usage)
        return Asked("", ledger.usage, await self._written_end(node, found))

    async def answer_directly(self, node: Node, sub_question: str) -> Step | Failure:
        """The step from own knowledge."""
        ledger = Ledger()
        step = await self.roles.answer_directly(node, sub_question, ledger=ledger)
        return step or Failure(MALFORMED, ledger.usage)

    async def answer_after_search(self, node: Node, sub_question: str) -> Step | Failure:
        """The step with a search. One that found no answer is on record, and nothing follows it."""
        step = await self._after_search(node, sub_question)
        if says_nothing(step) and self.roles.settings.no_info == "direct":
            step = await self.roles.answer_anyway(node, step, ledger=Ledger())
        return Failure(NO_INFO, step.usage, step) if says_nothing(step) else step

    async def finish(self, node: Node) -> Step | Failure:
        """The final answer."""
        ledger = Ledger()
        step = await self.roles.finish(node, ledger=ledger)
        return step or Failure(MALFORMED, ledger.usage)

    def state(self, node: Node) -> str | None:
        """The transcript, where it holds no documents and the reader does not see it."""
        if self.roles.reader is None:
            return None
        return str(self.roles.answerer.protocol.turns(node.question, node.steps))

    async def _after_search(self, node: Node, sub_question: str) -> Step:
        if self.roles.reader is None:
            return await self.roles.answer_after_search(node, sub_question, ledger=Ledger())
        if (known := self._read.get(sub_question)) is not None:
            return replace(known, n=len(node.steps) + 1, usage=NO_USAGE, seconds=0.0)
        step = await self.roles.answer_after_search(node, sub_question, ledger=Ledger())
        self._read[sub_question] = step
        return step

    async def _written_end(self, node: Node, proposal: Proposal) -> Step | None:
        """The final step that the answerer wrote where it was asked for a sub-question; None where another
        model was asked, whose answer does not count.
        """
        if self.roles.proposer is not self.roles.answerer:
            return None
        return await self.roles.finish(node, ledger=Ledger(), proposal=proposal)
