"""Countries and their adjectives: annotations say "India" where a passage says "an Indian film director"."""

from __future__ import annotations

_PAIRS = """
afghanistan afghan; albania albanian; algeria algerian; argentina argentine|argentinian; armenia armenian;
australia australian; austria austrian; azerbaijan azerbaijani; bangladesh bangladeshi; belarus belarusian;
belgium belgian; bolivia bolivian; bosnia and herzegovina bosnian|herzegovinian; brazil brazilian;
bulgaria bulgarian; cambodia cambodian; cameroon cameroonian; canada canadian; chile chilean;
china chinese|peoples republic of china; colombia colombian; croatia croatian; cuba cuban; cyprus cypriot;
czech republic czech|czechia; czechoslovakia czechoslovak|czechoslovakian; denmark danish|kingdom of denmark;
ecuador ecuadorian; egypt egyptian; england english; estonia estonian; ethiopia ethiopian; finland finnish;
france french; georgia georgian; germany german; ghana ghanaian; greece greek; hong kong hongkonger;
hungary hungarian; iceland icelandic; india indian; indonesia indonesian; iran iranian|persian; iraq iraqi;
ireland irish|republic of ireland; israel israeli; italy italian|kingdom of italy; jamaica jamaican;
japan japanese; jordan jordanian; kazakhstan kazakh|kazakhstani; kenya kenyan; latvia latvian; lebanon
lebanese; lithuania lithuanian; luxembourg luxembourgish; malaysia malaysian; malta maltese; mexico mexican;
mongolia mongolian; morocco moroccan; nepal nepalese|nepali; netherlands dutch|kingdom of netherlands; new
zealand new zealander; nigeria nigerian; north korea north korean; norway norwegian; pakistan pakistani;
palestine palestinian; peru peruvian; philippines filipino|filipina|philippine; poland polish; portugal
portuguese; romania romanian; russia russian|russian empire; scotland scottish; senegal senegalese; serbia
serbian; singapore singaporean; slovakia slovak|slovakian; slovenia slovenian|slovene; south africa south
african; south korea south korean|korean; soviet union soviet|ussr; spain spanish; sri lanka sri lankan;
sweden swedish; switzerland swiss; syria syrian; taiwan taiwanese; tanzania tanzanian; thailand thai; tunisia
tunisian; turkey turkish; uganda ugandan; ukraine ukrainian; united kingdom british|uk|great
britain|britain|english|scottish|welsh; united states american|us|usa|united states of america; uruguay
uruguayan; venezuela venezuelan; vietnam vietnamese; wales welsh; yugoslavia yugoslav|yugoslavian; zimbabwe
zimbabwean
"""


def _read(pairs: str) -> dict[str, frozenset[str]]:
    """Every form of a country -> its other forms. The adjective is what follows the country's own words."""
    groups: dict[str, set[str]] = {}
    for entry in pairs.replace("\n", " ").split(";"):
        first, *others = entry.strip().split("|")
        country, adjective = _halves(first)
        forms = {country, adjective, *others}
        for form in (country, adjective, *others):
            groups.setdefault(form, set()).update(forms - {form})
    return {form: frozenset(others) for form, others in groups.items()}


def _halves(entry: str) -> tuple[str, str]:
    """The country and its adjective: two halves of equal length, or all but the last word and that word."""
    words = entry.split()
    half = len(words) // 2
    if len(words) % 2 == 0 and (half == 1 or words[0] == words[half]):
        return " ".join(words[:half]), " ".join(words[half:])
    return " ".join(words[:-1]), words[-1]


_FORMS = _read(_PAIRS)

NATIONALITIES = frozenset(
    _halves(entry.strip().split("|")[0])[1] for entry in _PAIRS.replace("\n", " ").split(";")
)
"""The adjective of every country, in lower case."""


def demonym_forms(name: str) -> frozenset[str]:
    """Other forms of a country or nationality in normalised spelling; empty for anything else."""
    return _FORMS.get(name, frozenset())
