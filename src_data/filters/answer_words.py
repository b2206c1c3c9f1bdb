"""Word lists behind the answer rules: what is noise, what is the same word, what makes it another thing."""

from __future__ import annotations

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
)
UNITS = {word: value for words in (_ONES, _ORDINALS) for value, word in enumerate(words.split())}
TENS = {
    word: 10 * value
    for words in (
        "twenty thirty forty fifty sixty seventy eighty ninety",
        "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth",
    )
    for value, word in enumerate(words.split(), start=2)
}
SCALES = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "bn": 1_000_000_000,
    "trillion": 1_000_000_000_000,
}


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Dropped before answers are compared, unless nothing would be left.
STOP = _set("a an the of in at on by for to from is was were are be about around circa ca approximately")
COMPANY = _set("inc incorporated ltd limited llc plc corp corporation co gmbh company")

SAME = {
    "&": "and",
    "saint": "st",
    "street": "st",
    "ste": "st",
    "mount": "mt",
    "doctor": "dr",
    "junior": "jr",
    "senior": "sr",
    "professor": "prof",
    "university": "univ",
    "versus": "vs",
    "feet": "foot",
    "ft": "foot",
    "metre": "m",
    "meter": "m",
    "kilometre": "km",
    "kilometer": "km",
    "kilogram": "kg",
    "lb": "pound",
    "mi": "mile",
    "hr": "hour",
    "min": "minute",
    "yr": "year",
    "%": "percent",
    "$": "dollar",
    "usd": "dollar",
    "£": "pound",
    "€": "euro",
    "children": "child",
    "women": "woman",
    "men": "man",
    "people": "person",
}
PHRASES = {
    ("united", "state", "america"): "usa",
    ("united", "state"): "usa",
    ("united", "kingdom"): "uk",
    ("soviet", "union"): "ussr",
    ("per", "cent"): "percent",
    ("us", "dollar"): "dollar",
}

# One of these on one side only makes it another thing: "New York" is not "York", "not Paris" is not "Paris".
QUALIFIERS = _set(
    "new north south east west northern southern eastern western northeast northwest southeast southwest "
    "upper lower central supporting assistant associate not never non no anti neither except vice former "
    "deputy step grand half sr woman youth reserve wife husband son daughter father mother brother sister "
    "widow nephew niece uncle aunt cousin"
)
# One of these last, on one side only, too: "Harvard University Press" is not "Harvard University".
HEADS = _set(
    "press school museum airport station bridge hospital library stadium college church cathedral theater "
    "hotel film movie picture studio production album song record band orchestra series novel book magazine "
    "newspaper award prize trophy cup league club bank building tower house hall palace castle abbey fort "
    "river lake sea ocean desert mountain hill fall island beach bay gulf canal valley harbor county "
    "district province republic empire war battle avenue road square park zoo foundation institute group"
)
# "the state of Nevada" is Nevada; "the Princess of China" is not China.
PLACES = _set("city town village county state province district region island kingdom republic commonwealth")
# Words that say what kind of thing it is, not which one.
GENERIC = HEADS | _set("city town state univ duke king queen prince president mr mrs dr st mt foot m km year")
# Words of a question that say nothing about its subject.
QUESTION_WORDS = _set(
    "and who what which when where why how doe did has have had will would could can same both either more "
    "most than that this these there they their his her its first second older younger later earlier come "
    "came out use used name named call called with also not one two"
)
