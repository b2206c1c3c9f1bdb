"""What a passage is about: its name, what it is, and what its sentences say of it.

A passage counts where its first sentence says what the thing of its title is ("X (born 1900) was a Swedish
chemist who …"). Only sentences whose subject is that thing are read further, so that a value is never one of
somebody else's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from src_core.sentences import split_sentences
from src_data.annotated_teacher.decomposition import bare_title
from src_data.passage_questions.nouns import kind_of, noun_of
from src_data.passage_questions.reading import even, without_brackets
from src_tasks.answers import squad_normalize

_LEAD = re.compile(
    r"^\"?(?P<subject>(?:The |An? )?[^.]{1,90}?)\"? ?(?P<brackets>\((?:[^()]|\([^()]*\)){0,200}\))?,? ?"
    r"(?:(?:also|better|commonly|usually|simply|professionally|best|popularly|often|formerly)? ?"
    r"(?:known|called|abbreviated|styled|stylized)(?: professionally| simply)? (?:as|by) [^,]{2,60}, )?"
    r"(?<!\w)(?P<verb>is|was|are|were) (?P<rest>.+)$"
)
_MAX_CHARS = 4_000
_FRONT = re.compile(
    r"^(?:In|On|After|From|At|During|Before|By|Since|Until|Between|Following)\b[^,;]{2,70}, (?=\w)"
)


@dataclass(frozen=True, slots=True)
class Predicate:
    """What a sentence says of the entity: its text after the subject. `sentence` is the whole sentence as the
    passage has it; `lead` marks the definition.
    """

    text: str
    sentence: str
    lead: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """A passage's subject. `name` is its title without brackets, `noun` the word for what it is ("film",
    "village", "chemist"), `kind` the class of that word, `definition` the noun phrase of the first sentence
    and `brackets` what stands behind the name there. `gender` is man, woman or "", `article` whether "the"
    stands before the name.
    """

    id: str
    title: str
    name: str
    text: str
    kind: str
    noun: str
    definition: str
    brackets: str
    gender: str
    article: bool
    predicates: tuple[Predicate, ...] = field(repr=False)


def read_entity(row_id: str, title: str, text: str) -> Entity | None:
    """The entity of one passage, None where its first sentence does not define the title."""
    sentences = split_sentences(even(text[:_MAX_CHARS]))
    name = bare_title(title)
    found = _LEAD.match(sentences[0]) if sentences else None
    if found is None or not _names(name, found["subject"]):
        return None
    definition = re.split(r"[,;.]| (?:who|which|that)\b", found["rest"], maxsplit=1)[0]
    noun = noun_of(found["rest"])
    if not noun:
        return None
    kind = kind_of(noun)
    rest = without_brackets(found["rest"]).rstrip(" .")
    predicates = [Predicate(f"{found['verb']} {rest}", sentences[0], lead=True)]
    predicates += _further(sentences[1:], name, kind, noun)
    return Entity(
        row_id, title, name, text, kind, noun, definition, (found["brackets"] or "").strip("()"),
        _gender(" ".join(sentences)) if kind == "person" else "",
        found["subject"].startswith("The ") and not name.startswith("The "), tuple(predicates),
    )  # fmt: skip


def _names(name: str, subject: str) -> bool:
    """Whether the subject of the first sentence is the thing of the title: it holds the title's words in
    order (a full name has more), or the title holds its words ("Anaconda" for "Anaconda, Montana").
    """
    ours, theirs = squad_normalize(name).split(), squad_normalize(subject).split()
    if not ours or not theirs or len(theirs) > len(ours) + 4:
        return False
    head = squad_normalize(name.partition(",")[0]).split()
    return _in_order(ours, theirs) or theirs == head or _in_order(head, theirs)


def _in_order(words: list[str], text: list[str]) -> bool:
    rest = iter(text)
    return all(word in rest for word in words)


def _further(sentences: list[str], name: str, kind: str, noun: str) -> list[Predicate]:
    """The predicates of the sentences that follow. After one about something else a pronoun may mean that;
    the name cannot.
    """
    subject, named = (
        re.compile(rf"^(?:{'|'.join(words)})\b,? (?:also |later |then )?")
        for words in (_references(name, kind, noun), [re.escape(name)])
    )
    found: list[Predicate] = []
    for sentence in sentences:
        plain = without_brackets(_FRONT.sub("", sentence, count=1))
        plain = plain[:1].upper() + plain[1:]
        match = subject.match(plain)
        if match is None:
            subject = named
            continue
        found.append(Predicate(plain[match.end() :].rstrip(" ."), sentence))
    return found


def _references(name: str, kind: str, noun: str) -> list[str]:
    """The words by which a later sentence names the entity."""
    if kind == "person":
        return ["He", "She", re.escape(name), re.escape(name.split()[-1])]
    nouns = {noun, "movie" if noun == "film" else noun}
    return [
        *("It", re.escape(name), rf"\"{re.escape(name)}\"", rf"The (?:{'|'.join(sorted(nouns))})"),
        rf"This {noun}",
    ]


def _gender(text: str) -> str:
    words = re.findall(r"\b(he|his|him|she|her)\b", text.lower())
    male = sum(word in ("he", "his", "him") for word in words)
    return "man" if male > 2 * (len(words) - male) else "woman" if len(words) > 3 * male else ""
