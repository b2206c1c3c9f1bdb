"""Search-R1 and its kin: models that learnt by reinforcement to write their queries between tags (Search-R1,
arXiv 2503.09516; R1-Searcher, 2503.05592; ReSearch, 2503.19470; reference/r3rag.md, sections 3 to 5).

`baselines.protocol` chooses the tags; serve the checkpoint as the agent. The documents come back whole, no
reader reads them. How we differ from the releases: a reply is the assistant's turn and its documents are the
next user turn, where the releases go on inside one assistant turn (which engines do differently); the prompts
are ours (`configs/prompts/<protocol>.txt`: put a checkpoint's own text there to ask it as it was trained); a
malformed reply is asked for again instead of answered with a correction, and then the reader answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src_core.actions import ParsedStep, ParseError, make_action
from src_core.llm import Completion, Message
from src_core.think import CLOSE, OPEN
from src_core.types import Passage, Question, Search, Step, Trajectory
from src_infer.agent import TAG_STOPS, Turn
from src_infer.episode import Observation
from src_infer.multi_step import Evidence, Talk, answer_stepwise, observed, said, user
from src_infer.parsers import Tag, boxed_answer, first_tagged, plain_answer, whole_reply, without_think_marks
from src_infer.prompts import NO_PASSAGE, fill, shorten
from src_infer.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Protocol:
    """The tags of one family of checkpoints, and how it shows a document (`{n}`, `{title}`, `{text}`)."""

    query: Tag
    result: Tag
    document: str
    boxed: bool = False


ANSWER = Tag("<answer>", "</answer>")
PROTOCOLS = {
    "search_r1": Protocol(
        query=Tag("<search>", "</search>"),
        result=Tag("<information>", "</information>"),
        document="Doc {n}(Title: {title}) {text}",
    ),
    "r1_searcher": Protocol(
        query=Tag("<|begin_of_query|>", "<|end_of_query|>"),
        result=Tag("<|begin_of_documents|>\n", "\n<|end_of_documents|>"),
        document="({n}) {title}: {text}",
    ),
    "research": Protocol(
        query=Tag("<search>", "</search>"),
        result=Tag("<result>\n", "\n</result>"),
        document="{title}: {text}",
        boxed=True,
    ),
}


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Tagged replies until an answer."""
    protocol = PROTOCOLS[runtime.baselines.protocol]
    talk = _Tagged(protocol, runtime.prompt(runtime.baselines.protocol))

    async def search(query: str, _steps: Sequence[Step]) -> Observation:
        passages = await runtime.retrieve(query)
        return Observation(talk.documents(passages, runtime.max_passage_chars), passages)

    stops = (*TAG_STOPS, protocol.query.close, ANSWER.close)
    return await answer_stepwise(
        question,
        runtime,
        generate=Talk(runtime.agent.model, talk.turns, talk.messages, stops).generate(runtime),
        search=search,
        parse=talk.parse,
        evidence=Evidence.PASSAGES,
    )


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A conversation in one protocol."""

    protocol: Protocol
    prompt: str

    def turns(self, text: str, steps: Sequence[Step]) -> list[Turn]:
        """The replies as the protocol writes them, each with its documents."""
        tag, made = self.protocol.query, [user(text)]
        for step in steps:
            if isinstance(step.action, Search):
                query = f"{tag.open} {step.action.query} {tag.close}"
                thought = f"{OPEN}{step.thought}{CLOSE}\n" if step.thought else ""
                made += [said(thought + query), observed(step.observation or "")]
        return made

    def messages(self, turns: Sequence[Turn]) -> list[Message]:
        """Chat turns; the documents are the user's."""
        found = self.protocol.result
        messages = [{"role": "user", "content": fill(self.prompt, question=turns[0]["content"])}]
        for turn in turns[1:]:
            if turn["role"] == "assistant":
                messages.append({"role": "assistant", "content": turn["reasoning"]})
            else:
                messages.append({"role": "user", "content": f"{found.open}{turn['content']}{found.close}"})
        return messages

    def documents(self, passages: Sequence[Passage], max_chars: int) -> str:
        """The documents as the protocol shows them."""
        lines = [
            fill(self.protocol.document, n=str(n), title=item.title, text=shorten(item.text, max_chars))
            for n, item in enumerate(passages, start=1)
        ]
        return "\n".join(lines) or NO_PASSAGE

    def parse(self, reply: Completion, _functions: Sequence[str]) -> ParsedStep | ParseError:
        """A query or an answer, whichever comes first."""
        text = whole_reply(reply)
        query, answer = first_tagged(text, self.protocol.query), first_tagged(text, ANSWER)
        if query and not (answer and len(answer.before) < len(query.before)):
            thought, action = query.before, make_action("search", query.inside)
        elif answer:
            inside = boxed_answer(answer.inside) if self.protocol.boxed else ""
            thought, action = answer.before, make_action("finish", inside or plain_answer(answer.inside))
        else:
            return ParseError("no_tag", "the reply has neither a query nor an answer between tags")
        if isinstance(action, ParseError):
            return action
        return ParsedStep(None, without_think_marks(thought), action)
