"""Questions that no passage of the corpus answers: a passage tells much of a thing, but not this.

Whether it is told is decided by words: no passage that names the thing may hold any word with which the answer
might be told. So a question is left out rather than asked in vain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from src_data.passage_questions.entities import Entity
from src_data.passage_questions.facts import RELATIONS, Fact
from src_data.passage_questions.made import Made, MadeHop, pick, shuffled
from src_data.passage_questions.wording import ask_of, hop_of, nested, subject_of, with_subject
from src_data.passage_questions.world import World
from src_tasks.answers import NO_ANSWER

_BANK = (
    ("film", "What was the budget of {s}?", "How much money did {s} cost?", r"budget|cost|million|\$|£|crore"),
    ("film", "How many minutes does {s} last?", "What is the running time of {s}?", r"minute|runtime|running|hour|length"),
    ("film", "Who designed the costumes of {s}?", "Who was the costume designer of {s}?", r"costume|wardrobe|design"),
    ("film", "In which studio was {s} filmed?", "Where was {s} shot?", r"film(?:ed|ing)\b|\bshot\b|studio|location"),
    ("film", "Who was first offered the leading role in {s}?", "Which actor turned down the leading role in {s}?",
     r"offered|originally|turned down|replac|declin"),
    ("person", "What was the name of the dog of {s}?", "How was the dog of {s} called?", r"\bdogs?\b|\bpets?\b"),
    ("person", "How tall is {s}?", "What is the height of {s}?", r"\btall|height|\bcm\b|\bft\b|\bm\b|feet|metre|meter"),
    ("person", "In which street did {s} live?", "What was the street address of {s}?", r"street|road|avenue|\blived|reside|house"),
    ("person", "How many children did {s} have?", "What is the number of children of {s}?", r"child|\bsons?\b|daughter|father|mother|parent"),
    ("person", "Which instrument did {s} learn first?", "What was the first instrument of {s}?",
     r"instrument|piano|violin|guitar|drum|flute|trumpet|cello|music"),
    ("person", "In which hospital was {s} born?", "Which hospital is the birthplace of {s}?", r"hospital|clinic|born (?:at|in)"),
    ("album", "In which studio was {s} recorded?", "Where was {s} recorded?", r"studio|recorded"),
    ("album song", "How many copies of {s} were sold in the first week?", "What were the sales of {s} in its first week?",
     r"cop(?:y|ies)|sold|sales|sell"),
    ("album book game", "Who designed the cover of {s}?", "Which artist made the cover of {s}?", r"cover|artwork|design|photo|illustrat"),
    ("song", "Who directed the music video of {s}?", "By whom was the video of {s} directed?", r"video|direct"),
    ("song", "In which key is {s}?", "What is the key of {s}?", r"\bkey\b|major|minor|tempo"),
    ("book", "How many pages does {s} have?", "What is the number of pages of {s}?", r"pages?\b"),
    ("book stage", "To whom is {s} dedicated?", "Who is named in the dedication of {s}?", r"dedicat"),
    ("stage", "Who conducted the first performance of {s}?", "Which conductor led the premiere of {s}?", r"conduct|premi|baton"),
    ("settlement", "Who is the mayor of {s}?", "What is the name of the mayor of {s}?", r"mayor|council|govern"),
    ("settlement", "What is the oldest building in {s}?", "Which building in {s} is the oldest?", r"oldest|built|building|church|castle"),
    ("settlement region", "On which river is {s}?", "Which river flows through {s}?", r"river|stream|creek|banks?\b|brook"),
    ("school", "Who is the head of {s}?", "What is the name of the head of {s}?", r"head|principal|president|director|chancellor|dean|rector"),
    ("school", "What are the school colours of {s}?", "Which colours does {s} have?", r"colou?rs?\b"),
    ("band", "Who was the first drummer of {s}?", "Which drummer played in {s} first?", r"drum"),
    ("company organisation", "How many people work for {s}?", "What is the number of employees of {s}?", r"employ|staff|people|worker|member"),
    ("company", "Who is the chief executive of {s}?", "Which person leads {s} as chief executive?", r"chief|\bCEO|executive|president|director|\bhead\b"),
    ("building", "How much did the construction of {s} cost?", "What were the building costs of {s}?", r"cost|\$|£|€|million|budget"),
    ("building", "Who laid the foundation stone of {s}?", "By whom was the foundation stone of {s} laid?", r"foundation|stone|\blaid\b"),
    ("building machine ship", "How many tonnes does {s} weigh?", "What is the weight of {s} in tonnes?", r"\bton|weigh|\bkg\b|pounds"),
    ("nature", "How deep is {s}?", "What is the depth of {s}?", r"deep|depth|feet|metre|meter|\bm\b"),
    ("species", "How heavy does {s} become?", "What is the weight of {s}?", r"weigh|heav|\bkg\b|gram|pound"),
    ("series", "Who wrote the theme music of {s}?", "By whom is the theme music of {s}?", r"music|theme|compos|song"),
    ("team", "What are the colours of {s}?", "Which colours does {s} wear?", r"colou?rs?\b|\bred\b|\bblue\b|\bwhite\b|\bgreen\b"),
    ("paper", "How many copies of {s} are printed?", "What is the circulation of {s}?", r"cop(?:y|ies)|circulation|print|reader"),
    ("game", "How many copies of {s} were sold?", "What are the sales of {s}?", r"cop(?:y|ies)|sold|sales|sell"),
)  # fmt: skip
_ODD = frozenset(
    """rural district|position|team|political party|band|uncle or aunt|mascot|featured artist|county|county seat
    |translator|describer|former job|nickname|character|birth name|namesake|host|sibling|first ascent|channel
    |commander|profession""".replace("\n    ", "").split("|")
)
"""Relations that most things of their kind do not have: a question for one would assume what is not so."""
_OF_THE_DEAD = frozenset({"death date", "place of death", "grave"})
_MIN_CHARS = 120
_FEW = 40


def untold(world: World, seed: int) -> Iterator[Made]:
    """Questions about one thing, in an order that the seed decides."""
    for entity in shuffled([*world.entities.values()], seed, "untold"):
        if len(entity.text) < _MIN_CHARS:
            continue
        options = _missing(world, entity)
        if options:
            name, question, again = pick(options, seed, "untold", entity.id)
            subject = subject_of(entity, seed, "untold", entity.id)
            hop = _hop(entity, question, again, subject)
            yield Made("unanswerable 1", hop.question, (NO_ANSWER,), (hop,), ("untold", name))


def untold_behind(world: World, seed: int) -> Iterator[Made]:
    """Questions about what a fact leads to, in an order that the seed decides."""
    for fact in shuffled([*world.all_facts()], seed, "behind"):
        linked = world.entity_of(fact)
        if linked is not None:
            yield from _behind(world, seed, fact, linked)


def _behind(world: World, seed: int, fact: Fact, linked: Entity) -> Iterator[Made]:
    key = (seed, "untold", fact.entity.id, fact.relation.name)
    ask = ask_of(fact, world, *key, phrase=True)
    options = _missing(world, linked)
    if ask is None or not options:
        return
    name, question, again = pick(options, *key)
    if not nested(question, ask.phrase):
        return
    subject = subject_of(fact.entity, *key)
    first = hop_of(fact, ask, subject)
    text = with_subject(question, ask.phrase.replace("{s}", subject))
    hops = (first, _hop(linked, question, again, "#1"))
    yield Made("unanswerable 2", text, (NO_ANSWER,), hops, (fact.relation.name, name))


def _hop(entity: Entity, question: str, again: str, subject: str) -> MadeHop:
    return MadeHop(with_subject(question, subject), (NO_ANSWER,), entity, "", (with_subject(again, subject),))


def _missing(world: World, entity: Entity) -> list[tuple[str, str, str]]:
    """(name, question, other wording) of what no passage that names the entity tells."""
    rows = world.naming(entity.name)
    if len(rows) > _FEW:
        return []
    text = "\n".join(f"{row.title} {row.text}" for row in rows)
    found = [
        (question, question, again)
        for kinds, question, again, hints in _BANK
        if entity.kind in kinds.split() and not re.search(hints, text, re.IGNORECASE)
    ]
    known = {fact.relation.name for fact in world.facts[entity.id]}
    dead = entity.predicates[0].text.startswith("was ")
    for relation in RELATIONS:
        if relation.name in _ODD or (relation.name in _OF_THE_DEAD and not dead):
            continue
        plain = [ask for ask, _ in relation.forms if "{t}" not in ask]
        usual = relation.fits(entity.kind) and relation.kinds != "any" and len(plain) > 1
        if usual and relation.hints and relation.name not in known and not re.search(relation.hints, text, re.IGNORECASE):
            found.append((relation.name, plain[0], plain[1]))
    return found
