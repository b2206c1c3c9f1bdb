"""What things are: the noun of a definition, and its class."""

from __future__ import annotations

import re

_KINDS = {
    "film": "film movie documentary",
    "song": "song single ballad hymn",
    "album": "album EP soundtrack",
    "book": "novel book novella poem biography memoir autobiography story trilogy",
    "stage": "opera operetta musical ballet play",
    "music": "symphony concerto oratorio sonata quartet overture",
    "series": "sitcom series miniseries telenovela show programme program",
    "comic": "manga comic",
    "game": "game videogame",
    "paper": "magazine newspaper journal periodical newsletter weekly",
    "art": "painting sculpture fresco statue mural portrait triptych drawing",
    "building": (
        "bridge church cathedral castle house museum station stadium theatre theater library tower hotel "
        "palace mansion abbey monastery lighthouse arena mosque temple skyscraper courthouse chapel prison "
        "hospital fort viaduct dam airport mill farm villa building synagogue observatory restaurant"
    ),
    "settlement": (
        "village town city municipality commune hamlet suburb neighborhood neighbourhood borough settlement "
        "community township parish locality"
    ),
    "region": "county district province region state island country republic peninsula",
    "nature": "river lake mountain peak volcano glacier hill bay park creek stream valley desert cave",
    "school": "university college school academy institute conservatory seminary",
    "band": "band duo trio group quartet orchestra choir ensemble",
    "company": (
        "company corporation manufacturer airline bank retailer publisher brewery label firm chain startup "
        "conglomerate broadcaster"
    ),
    "team": "team club franchise",
    "species": "species genus",
    "event": "battle war treaty festival tournament championship award prize election pageant",
    "organisation": "organization organisation charity foundation party society association union agency",
    "ship": "ship destroyer submarine battleship cruiser frigate steamship schooner brig yacht ferry",
    "machine": "aircraft fighter helicopter car locomotive airliner bomber motorcycle smartphone rifle",
    "asteroid": "asteroid comet moon planet planetoid",
    "network": "channel network",
}
_PERSONS = """actor actress director screenwriter producer writer novelist poet playwright author journalist
politician singer songwriter rapper musician composer conductor pianist violinist guitarist drummer bassist
cellist organist footballer cricketer boxer wrestler swimmer sprinter cyclist golfer athlete player coach
manager lawyer judge attorney physician surgeon nurse scientist physicist chemist biologist botanist zoologist
geologist astronomer mathematician engineer inventor architect painter sculptor illustrator cartoonist
photographer designer dancer choreographer comedian model presenter broadcaster host philosopher historian
economist sociologist psychologist theologian priest bishop archbishop cardinal missionary minister soldier
general admiral officer businessman businesswoman entrepreneur businessperson philanthropist activist
feminist explorer aviator astronaut pilot diplomat king queen prince princess duke earl emperor nobleman
noblewoman baron baronet count countess duchess chef racer skier skater gymnast jockey rower archer fencer
filmmaker cinematographer editor librettist translator critic essayist biographer linguist archaeologist
anthropologist naturalist entomologist ornithologist meteorologist mountaineer sailor sportsman sportswoman
entertainer vocalist soprano tenor baritone lyricist trumpeter saxophonist quarterback linebacker goaltender
midfielder defender goalkeeper pitcher catcher outfielder academic professor scholar educator teacher
librarian publisher printer bookseller banker merchant industrialist statesman jurist revolutionary rabbi
virologist pathologist neurologist psychiatrist pharmacist veterinarian ecologist statistician logician"""
_OF_KIND = {noun: kind for kind, nouns in _KINDS.items() for noun in nouns.split()}
_OF_KIND |= dict.fromkeys(_PERSONS.split(), "person")
_END = re.compile(
    r"[,;.(\"]| (?:who|which|that|whose|where|when|directed|written|by|from|in|of|for|starring|based|released"
    r"|produced|created|located|situated|on|at|with|near|to|set|published|composed|recorded|featuring|about"
    r"|designed|built|founded|owned|played|and (?:the|an?|was|is)|known|born|within|between|under|during"
    r"|developed|adapted|edited|serving|performed|as|used|found|native|made|operated|held|working|discovered|painted)\b"
)


def noun_of(definition: str) -> str:
    """The noun of "an American comedy film directed by …" (film), or "" for none that is known."""
    phrase = _END.split(definition, maxsplit=1)[0]
    if not re.match(r"(?:an?|the|one)\b", phrase):
        return ""
    parts = (phrase.partition(" and ")[0], phrase)  # "football player and technical director": a player
    return next((words[-1] for part in parts if (words := part.split()) and words[-1] in _OF_KIND), "")


def kind_of(noun: str) -> str:
    """The class of a noun of `noun_of`."""
    return _OF_KIND.get(noun, "")
