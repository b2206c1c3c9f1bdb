"""Relations of works: films, songs, albums, books, stage works, series, games, papers, pictures."""

from __future__ import annotations

from src_data.passage_questions.relation import Compared, Relation

_MADE = "directed|written|produced|edited|composed|created|shot|co-written|co-produced|scored|designed|choreographed"


def _by(verb: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Patterns of "VERB by NAME" in a definition, and in a later sentence of which it is the predicate."""
    with_others = rf"(?:(?:{_MADE}|performed|recorded|sung|illustrated|published|developed|starring), )*(?:(?:{_MADE}|recorded|performed|starring) and )?"
    after = rf"(?:,? and (?:{_MADE}|published|illustrated|recorded|performed))?"
    lead = rf"(?:{with_others})(?<![\w-]){verb}{after} by <OF><v:PERSON><ONE>"
    body = rf"^(?:is|was|were|has been) (?:{with_others}){verb}{after} by <OF><v:PERSON><ONE>"
    also = rf"^(?:is|was) (?:(?:{_MADE}|released|published) [^,;.]{{3,60}},? and )(?:was )?{verb} by <OF><v:PERSON><ONE>"
    return (lead,), (body, also)


_DIRECTED, _WRITTEN, _COMPOSED = _by("directed"), _by("written"), _by("composed")
_PRODUCED, _PAINTED, _ILLUSTRATED = _by("produced"), _by("painted"), _by("illustrated")
_EDITED, _TRANSLATED, _CREATED = _by("edited"), _by("translated"), _by("created")
_PERFORMED, _RECORDED, _DESIGNED = _by("performed"), _by("recorded"), _by("designed")
_CHOREOGRAPHED, _SCREENED, _HOSTED = _by("choreographed"), _by("(?:shot|photographed|filmed)"), _by("(?:hosted|presented)")
_FOUNDED, _SUNG = _by("(?:founded|started)"), _by("sung")
_TEXT = r"(?=[.;(]|,(?! [A-Z\"])|,? (?:in|on|and|as|for|from|at|to|with|through|by|which)\b|$)"
_OUT = Compared(
    ("Which {n} was released earlier, {a} or {b}?", "Which {n} came out first, {a} or {b}?",
     "Of the {n}s {a} and {b}, which one was released first?"),
    ("Which {n} was released later, {a} or {b}?", "Which {n} came out later, {a} or {b}?",
     "Which {n} is more recent, {a} or {b}?"),
    ("Were {a} and {b} released in the same year?", "Did {a} and {b} come out in the same year?"),
)  # fmt: skip

WORKS = (
    Relation(
        "director", "film series stage", "person",
        (
            ("Who directed {s}?", "{who} who directed {s}"),
            ("Who is the director of {s}?", "the director of {s}"),
            ("Which film-maker directed {s}?", "the film-maker who directed {s}"),
            ("By whom was {s} directed?", "the person by whom {s} was directed"),
        ),
        lead=_DIRECTED[0], body=_DIRECTED[1], hints=r"\bdirect",
        compared=Compared(same=(
            "Were {a} and {b} directed by the same person?", "Do {a} and {b} have the same director?",
            "Did the same person direct {a} and {b}?",
        )),
    ),
    Relation(
        "screenwriter", "film series", "person",
        (
            ("Who wrote {s}?", "{who} who wrote {s}"),
            ("Who wrote the screenplay of {s}?", "the screenwriter of {s}"),
            ("Who is the writer of {s}?", "the writer of {s}"),
        ),
        lead=_WRITTEN[0],
        body=(*_WRITTEN[1], r"^(?:has|had) (?:a )?(?:screenplay|script) (?:written )?by <OF><v:PERSON><ONE>"),
        hints=r"\bwr[io]t|\bscreenplay|\bscript|\bpenned|\bauthor",
        compared=Compared(same=("Were {a} and {b} written by the same person?",)),
    ),
    Relation(
        "author", "book stage paper", "person",
        (
            ("Who wrote {s}?", "{who} who wrote {s}"),
            ("Who is the author of {s}?", "the author of {s}"),
            ("By whom was {s} written?", "the writer by whom {s} was written"),
        ),
        lead=(*_WRITTEN[0], r"^(?:is|was) an? [^,;.]{0,60}\b(?:novel|book|novella|poem|play|memoir|autobiography|biography"
              r"|story) (?:for children )?by <OF><v:PERSON><ONE>"),
        body=(*_WRITTEN[1],), hints=r"\bwr[io]t|\bauthor|\bnovelist|\bpoet|\bpenned|\bplaywright",
        compared=Compared(same=("Were {a} and {b} written by the same author?", "Do {a} and {b} have the same author?")),
    ),
    Relation(
        "composer", "stage music song film", "person",
        (
            ("Who composed {s}?", "{who} who composed {s}"),
            ("Who is the composer of {s}?", "the composer of {s}"),
            ("By whom was {s} composed?", "the composer by whom {s} was composed"),
        ),
        lead=(*_COMPOSED[0], r"^(?:is|was) an? (?:[a-z-]+ )?(?:opera|operetta|ballet|symphony|concerto|oratorio|sonata)"
              r" (?:in \w+ (?:acts|parts|movements) )?by (?:the )?<OF><v:PERSON><ONE>"),
        body=_COMPOSED[1], hints=r"\bwr[io]t|\bby\b|\bcompos|\bmusic|\bscor|\bsoundtrack",
    ),
    Relation(
        "film composer", "film series game", "person",
        (
            ("Who composed the music of {s}?", "{who} who composed the music of {s}"),
            ("Who wrote the score of {s}?", "the composer of the score of {s}"),
            ("By whom is the music of {s}?", "the musician who wrote the music of {s}"),
        ),
        body=(r"^(?:has|had|features|featured) (?:a |its |an original )?(?:original )?(?:music|score|soundtrack)(?: and songs)? (?:composed )?by <OF><v:PERSON><ONE>",),
        lead=(r"\b(?:with |and )(?:a |an original )?(?:music|score|soundtrack) (?:is )?(?:composed )?by <OF><v:PERSON><ONE>",),
        hints=r"\bcompos|\bmusic|\bscor|\bsoundtrack|\bsong",
    ),
    Relation(
        "librettist", "stage", "person",
        (
            ("Who wrote the libretto of {s}?", "{who} who wrote the libretto of {s}"),
            ("Who is the librettist of {s}?", "the librettist of {s}"),
            ("By whom is the libretto of {s}?", "the author of the libretto of {s}"),
        ),
        lead=(r"\blibretto (?:was |is )?(?:written )?by <OF><v:PERSON><ONE>",),
        body=(r"^(?:has|had|is|was) [^.;]{0,60}\blibretto (?:written )?by <OF><v:PERSON><ONE>",),
        hints=r"\blibrett|\btext|\bwords|\bwr[io]t",
    ),
    Relation(
        "lyricist", "song stage", "person",
        (("Who wrote the lyrics of {s}?", "{who} who wrote the lyrics of {s}"),
         ("Who is the lyricist of {s}?", "the lyricist of {s}")),
        lead=(r"\b(?:with |and )lyrics (?:written |penned )?by <OF><v:PERSON><ONE>",),
        body=(r"^(?:has|had|features|is|was) [^.;]{0,50}\blyrics (?:written |penned )?by <OF><v:PERSON><ONE>",),
        hints=r"\blyric|\bwords|\bwr[io]t|\btext",
    ),
    Relation(
        "songwriter", "song", "person",
        (("Who wrote {s}?", "{who} who wrote {s}"), ("Who is the writer of {s}?", "the songwriter of {s}"),
         ("By whom was {s} written?", "the person by whom {s} was written")),
        lead=_WRITTEN[0], body=_WRITTEN[1], hints=r"\bwr[io]t|\bpenned|\bcompos|\bauthor",
    ),
    Relation(
        "producer", "film song album series", "person",
        (("Who produced {s}?", "{who} who produced {s}"), ("Who is the producer of {s}?", "the producer of {s}"),
         ("By whom was {s} produced?", "the person by whom {s} was produced")),
        lead=_PRODUCED[0], body=_PRODUCED[1], hints=r"\bproduc",
    ),
    Relation(
        "performer", "song album", "person",
        (
            ("Who performed {s}?", "the performer of {s}"),
            ("Who recorded {s}?", "the artist who recorded {s}"),
            ("Which artist performed {s}?", "the singer or band that performed {s}"),
            ("By whom was {s} recorded?", "the artist by whom {s} was recorded"),
        ),
        lead=(r"^(?:is|was) (?:an?|the) [^.;\"]{0,70}\b(?:song|single|album|EP|ballad|soundtrack)(?: written and| written,)?"
              r"(?: recorded| performed| released| sung)? by (?:the )?(?:<NATION>(?:-<NATION>)? )?(?:[a-z][a-z/&-]+ (?:and )?){0,5}"
              r"<v:NAME>(?=[.;(]|,(?! (?:and )?[A-Z])|,? (?:from|released|for|on|which|in|that|as|with)\b(?! (?:the )?(?:Roses|Waves))|$)",),
        body=_RECORDED[1] + _PERFORMED[1] + _SUNG[1],
        hints=r"\bperform|\brecord|\bsung|\bsing|\bby\b|\bartist|\bband",
        compared=Compared(same=("Were {a} and {b} recorded by the same artist?", "Are {a} and {b} by the same performer?")),
    ),
    Relation(
        "featured artist", "song", "person",
        (("Which artist is featured on {s}?", "the artist who is featured on {s}"),
         ("Who is the featured artist of {s}?", "the featured artist of {s}")),
        lead=(r"\bfeaturing (?:vocals from |vocals by )?<OF><v:PERSON><ONE>",),
        body=(r"^features (?:guest )?vocals (?:from|by) <OF><v:PERSON><ONE>",), hints=r"\bfeatur|\bguest|\bvocals|\bduet",
    ),
    Relation(
        "album of the song", "song", "name",
        (("On which album is {s}?", "the album on which {s} is"),
         ("From which album is {s}?", "the album from which {s} is"),
         ("Which album contains {s}?", "the album that contains {s}")),
        lead=(r"\bfrom (?:his|her|their|the|its) [^.;\"]{0,60}\b(?:album|EP),? \"(?P<v>[^\"]{2,60})\"",),
        hints=r"\balbum|\bEP\b|\bsoundtrack",
    ),
    Relation(
        "painter", "art", "person",
        (("Who painted {s}?", "{who} who painted {s}"), ("Who is the painter of {s}?", "the painter of {s}"),
         ("Which artist made {s}?", "the artist who made {s}")),
        lead=(*_PAINTED[0], *_CREATED[0], r"^(?:is|was) an? [^.;]{0,60}(?:painting|fresco|sculpture|statue|portrait|triptych|drawing)"
              r" (?:[^.;,]{0,30} )?by <OF><v:PERSON><ONE>"),
        body=_PAINTED[1], hints=r"\bpaint|\bartist|\bsculpt",
    ),
    Relation(
        "illustrator", "book comic paper", "person",
        (("Who illustrated {s}?", "{who} who illustrated {s}"), ("Who is the illustrator of {s}?", "the illustrator of {s}"),
         ("Who drew the pictures of {s}?", "the artist who illustrated {s}")),
        lead=(*_ILLUSTRATED[0], r"\band illustrated by <OF><v:PERSON><ONE>", r"\bwith illustrations by <OF><v:PERSON><ONE>"),
        body=_ILLUSTRATED[1], hints=r"\billustrat|\bdraw|\bpicture|\bartist|\bart\b",
    ),
    Relation(
        "translator", "book stage", "person",
        (("Who translated {s}?", "{who} who translated {s}"), ("Who is the translator of {s}?", "the translator of {s}")),
        lead=(r"\btranslated (?:into English )?by <OF><v:PERSON><ONE>",),
        body=(r"^(?:has been|was) (?:first )?translated (?:into \w+ )?by <OF><v:PERSON><ONE>",), hints=r"\btranslat",
    ),
    Relation(
        "editor", "film paper", "person",
        (("Who edited {s}?", "{who} who edited {s}"), ("Who is the editor of {s}?", "the editor of {s}")),
        lead=_EDITED[0], body=_EDITED[1], hints=r"\bedit",
    ),
    Relation(
        "cinematographer", "film", "person",
        (("Who photographed {s}?", "{who} who photographed {s}"),
         ("Who was the cinematographer of {s}?", "the cinematographer of {s}")),
        body=(*_SCREENED[1], r"^(?:has|had|features) cinematography by <OF><v:PERSON><ONE>"), hints=r"\bphotograph|\bshot\b|\bcinematograph|\bcamera|\bfilmed",
    ),
    Relation(
        "creator", "series comic game paper", "person",
        (("Who created {s}?", "{who} who created {s}"), ("Who is the creator of {s}?", "the creator of {s}"),
         ("By whom was {s} created?", "the person by whom {s} was created")),
        lead=_CREATED[0], body=_CREATED[1], hints=r"\bcreat|\bdevelop|\binvent",
    ),
    Relation(
        "designer of the game", "game", "person",
        (("Who designed {s}?", "{who} who designed {s}"), ("Who is the designer of {s}?", "the designer of {s}")),
        lead=_DESIGNED[0], body=_DESIGNED[1], hints=r"\bdesign|\bcreat|\binvent",
    ),
    Relation(
        "choreographer", "stage film", "person",
        (("Who choreographed {s}?", "{who} who choreographed {s}"),
         ("Who is the choreographer of {s}?", "the choreographer of {s}")),
        lead=(*_CHOREOGRAPHED[0], r"\bchoreography by <OF><v:PERSON><ONE>"), body=_CHOREOGRAPHED[1], hints=r"\bchoreograph|\bdanc",
    ),
    Relation(
        "host", "series", "person",
        (("Who hosted {s}?", "{who} who hosted {s}"), ("Who is the presenter of {s}?", "the presenter of {s}"),
         ("By whom was {s} presented?", "the person by whom {s} was presented")),
        lead=_HOSTED[0], body=_HOSTED[1], hints=r"\bhost|\bpresent",
    ),
    Relation(
        "founder of the paper", "paper", "person",
        (("Who founded {s}?", "{who} who founded {s}"), ("Who is the founder of {s}?", "the founder of {s}"),
         ("By whom was {s} established?", "the person by whom {s} was established")),
        lead=_FOUNDED[0], body=(*_FOUNDED[1], r"^was (?:founded|established|started|launched) in <YEAR> by <OF><v:PERSON><ONE>"),
        hints=r"\bfound|\bestablish|\bstart|\blaunch|\bcreat",
    ),
    Relation(
        "star", "film", "person",
        (("Who stars in {s}?", "the star of {s}"), ("Which actor or actress has the leading role in {s}?",
         "the actor or actress with the leading role in {s}"), ("Who has the main role in {s}?", "the person with the main role in {s}")),
        lead=(r"\bstarring <v:PERSON>(?=[.;]|,? (?:based|about|set|released)\b|,? and (?:directed|produced|written|based|released)|$)",),
        body=(r"^(?:stars|starred) <v:PERSON>(?=[.;]|,? and (?:was|is)|$)",),
        hints=r"\bstar|\bcast|\bactor|\bplay|\brole|\bfeatur|\blead",
    ),
    Relation(
        "basis", "film stage series", "name",
        (("On which work is {s} based?", "the work on which {s} is based"),
         ("What is {s} based on?", "the work that {s} is based on")),
        lead=(r"\bbased on (?:the |a )?(?:<YEAR> )?(?:[\w'-]+ ){0,4}(?:novel|book|play|story|memoir|novella|comic|manga) \"(?P<v>[^\"]{2,60})\"",),
        body=(r"^(?:is|was) (?:loosely )?based on (?:the |a )?(?:<YEAR> )?(?:[\w'-]+ ){0,4}(?:novel|book|play|story|memoir|novella) \"(?P<v>[^\"]{2,60})\"",),
        hints=r"\bbased\b|\badapt|\binspired|\bnovel|\bbook",
    ),
    Relation(
        "writer of the basis", "film stage series", "person",
        (("Who wrote the work on which {s} is based?", "the author of the work on which {s} is based"),
         ("On whose novel or play is {s} based?", "the writer on whose work {s} is based")),
        lead=(r"\bbased on (?:the |a |an )?(?:<YEAR> )?(?:[\w'-]+ ){0,4}(?:novel|book|play|story|memoir|novella)(?: of the same (?:name|title)| \"[^\"]{2,60}\")? (?:written )?by <OF><v:PERSON><ONE>",
              r"\bbased on the (?:novel|book|play|story|memoir) by <OF><v:PERSON><ONE>"),
        body=(r"^(?:is|was) (?:loosely )?based on (?:the |a |an )?(?:<YEAR> )?(?:[\w'-]+ ){0,4}(?:novel|book|play|story|memoir|novella)(?: of the same (?:name|title)| \"[^\"]{2,60}\")? (?:written )?by <OF><v:PERSON><ONE>",),
        hints=r"\bbased\b|\badapt|\bnovel|\bbook",
    ),
    Relation(
        "year of release", "film album", "date",
        (("In which year was {s} released?", ""), ("When did {s} come out?", ""), ("When was {s} released?", ""),
         ("In what year did {s} appear?", "")),
        lead=(r"^(?:is|was) an? (?P<v><YEAR>) (?:[\w-]+ ){0,6}(?:film|documentary|album)\b",),
        hints=r"\b(?:1[0-9]|20)\d\d", compared=_OUT,
    ),
    Relation(
        "date of release", "song game", "date",
        (("When was {s} released?", ""), ("On what date was {s} released?", ""), ("What is the release date of {s}?", "")),
        lead=(r"\breleased (?:[a-z]+ )?on <v:DATE>",), body=(r"^was (?:first |officially )?released (?:[^.;\d]{0,40} )?on <v:DATE>",),
        hints=r"\breleas|\b(?:1[0-9]|20)\d\d", compared=_OUT,
    ),
    Relation(
        "first performance", "stage music", "date",
        (("When was {s} first performed?", ""), ("On what date did {s} have its first performance?", ""),
         ("When was the premiere of {s}?", "")),
        lead=(r"\b(?:premi[eè]red|first performed) (?:[^.;\d]{0,60} )?(?:on|in) (?P<v><DATE>|<YEAR>)",),
        body=(r"^(?:was )?(?:first )?(?:premi[eè]red|performed|produced|staged|opened) (?:[^.;\d]{0,60} )?(?:on|in) (?P<v><DATE>|<YEAR>)",),
        hints=r"\bpremi|\bperform|\b(?:1[0-9]|20)\d\d",
        compared=Compared(
            ("Which {n} was first performed earlier, {a} or {b}?", "Which had its premiere first, {a} or {b}?"),
            ("Which {n} was first performed later, {a} or {b}?", "Which had its premiere later, {a} or {b}?")),
    ),
    Relation(
        "place of the premiere", "stage film", "name",
        (("Where was {s} first performed?", "the place where {s} was first performed"),
         ("Where did {s} have its premiere?", "the place where {s} had its premiere")),
        body=(r"^(?:had its (?:world )?premiere|(?:was )?(?:first )?premi[eè]red|was first performed) (?:at|in) (?:the )?(?:<YEAR> )?<v:NAME>(?=[.;,]|,? (?:on|in|and|where|under|with)\b|$)",),
        hints=r"\bpremi|\bperform|\bfestival",
    ),
    Relation(
        "year of publication", "book paper", "date",
        (("When was {s} published?", ""), ("In which year did {s} first appear?", ""), ("In which year was {s} first published?", "")),
        lead=(r"\b(?:first )?(?:published|released) in (?P<v><YEAR>)", r"^(?:is|was) an? (?P<v><YEAR>) (?:[\w-]+ ){0,5}(?:novel|book|novella|memoir|autobiography|biography|poem)\b"),
        body=(r"^was (?:first |originally )?(?:published|released|founded|established) (?:[^.;\d,]{0,40} )?in (?P<v><YEAR>)",),
        hints=r"\b(?:1[0-9]|20)\d\d",
        compared=Compared(
            ("Which {n} was published earlier, {a} or {b}?", "Which {n} appeared first, {a} or {b}?"),
            ("Which {n} was published later, {a} or {b}?", "Which {n} appeared later, {a} or {b}?")),
    ),
    Relation(
        "publisher", "book game paper", "name",
        (("Who published {s}?", "the publisher of {s}"), ("Which company published {s}?", "the company that published {s}"),
         ("By which publisher was {s} published?", "the publisher that brought out {s}")),
        lead=(r"\bpublished (?:[a-z]+ )?by (?:the )?(?:<NATION> )?(?:[a-z]+ )?<v:NAME>(?=[.;(]|,(?! [A-Z])|,? (?:in|on|for|as|from|since|that|and (?:was|is|has))\b|$)",),
        body=(r"^(?:is|was) (?:first |originally )?(?:published|released) (?:in <YEAR> |monthly |weekly |quarterly )?by (?:the )?<v:NAME>(?=[.;(]|,(?! [A-Z])|,? (?:in|on|for|as|from|since)\b|$)",),
        hints=r"\bpublish|\bpress\b|\bissued",
    ),
    Relation(
        "developer", "game", "name",
        (("Which company developed {s}?", "the company that developed {s}"), ("Who is the developer of {s}?", "the developer of {s}")),
        lead=(r"\bdeveloped by (?:the )?(?:<NATION> )?(?:[a-z]+ ){0,3}<v:NAME>(?=[.;(]|,(?! [A-Z])|,? (?:in|on|for|as|and published|and released|that)\b|$)",),
        body=(r"^(?:is|was) developed by (?:the )?<v:NAME>(?=[.;(]|,(?! [A-Z])|,? (?:in|on|for|as|and published|and released)\b|$)",),
        hints=r"\bdevelop|\bstudio|\bmade by|\bcreat",
    ),
    Relation(
        "record label", "album song", "name",
        (("Which record label released {s}?", "the record label that released {s}"),
         ("On which label was {s} released?", "the label on which {s} was released"),
         ("Through which label did {s} come out?", "the label through which {s} came out")),
        lead=(r"\breleased (?:[^.;]{0,50} )?(?:by|through|on|via) (?:the )?(?P<v>(?:[A-Z0-9][\w&'-]* ){1,4}(?:Records|Recordings|Music|Entertainment|Label))\b(?!,? (?:and|/|[A-Z]))",),
        body=(r"^was released (?:[^.;]{0,60} )?(?:by|through|on|via) (?:the )?(?:[a-z]+ ){0,3}(?P<v>(?:[A-Z0-9][\w&'-]* ){1,4}(?:Records|Recordings|Music|Entertainment))\b(?!,? (?:and|/|[A-Z]))",),
        hints=r"\blabel|\bRecords|\bRecordings|\bMusic\b|\bEntertainment",
        compared=Compared(same=("Were {a} and {b} released by the same record label?", "Did {a} and {b} come out on the same label?")),
    ),
    Relation(
        "setting", "film book stage game", "place",
        (("Where is {s} set?", "the place where {s} is set"), ("In which place does {s} play?", "the place in which {s} is set")),
        lead=(r"\bset in (?:the (?:city|town|village) of )?<v:PLACE>(?=[.;]|,? (?:during|in|and|that|which|where|at|about)\b|$)",),
        body=(r"^is set (?:[a-z]+ )?in (?:the (?:city|town|village) of )?<v:PLACE>(?=[.;]|,? (?:during|in|and|where|at)\b|$)",),
        hints=r"\bset\b|\btakes place|\bplace\b",
    ),
    Relation(
        "language", "film song paper", "text",
        (("In which language is {s}?", ""), ("What is the language of {s}?", ""), ("Which language is spoken in {s}?", "")),
        lead=(r"^(?:is|was) an? (?:<YEAR> )?(?:<NATION> )?(?:[a-z-]+ )?(?P<v>[A-Z][a-z]+)-language\b",), hints=r"\blanguage|\b[A-Z][a-z]+(?:ish|ese|il|di|ian|am)\b|\bHindi",
    ),
    Relation(
        "channel", "series", "name",
        (("On which channel was {s} shown?", "the channel on which {s} was shown"), ("Which network aired {s}?", "the network that aired {s}")),
        lead=(r"\b(?:aired|broadcast|airs|premiered|shown|televised) (?:weekly |live |daily )?on (?:the )?(?P<v>[A-Z][\w&'-]*(?: [A-Z0-9][\w&'-]*){0,3})(?=[.;]|,? (?:from|in|on|and (?:was|is|ran)|between|since|during|for)\b|$)",),
        body=(r"^(?:was |is )?(?:first |originally )?(?:aired|broadcast|airs|premiered|shown|televised) (?:weekly |live )?on (?:the )?(?P<v>[A-Z][\w&'-]*(?: [A-Z0-9][\w&'-]*){0,3})(?=[.;]|,? (?:from|in|on|between|since|during|for)\b|$)",),
        hints=r"\bair|\bbroadcast|\bnetwork|\bchannel|\bpremier|\bBBC|\bABC|\bNBC|\bCBS|\bFox|\bITV",
    ),
)  # fmt: skip
