"""Relations of persons."""

from __future__ import annotations

from src_data.passage_questions.relation import Compared, Relation

_EDUCATED = r"(?:studied|attended|was educated)"

PEOPLE = (
    Relation(
        "birth date", "person", "date",
        (
            ("When was {s} born?", "the date of birth of {s}"),
            ("What is the date of birth of {s}?", "the date of birth of {s}"),
            ("On what date was {s} born?", "the date on which {s} was born"),
            ("In which year was {s} born?", "the year in which {s} was born"),
        ),
        brackets=(r"^(?:[^;]{0,60}[;,] ?)?(?:born|b\.)(?: on)? (?:[A-Z][^;\d]{0,60}[;,] ?)?<v:DATE>",
                  r"^(?:[^;\d]{0,60}[;,] ?)?<v:DATE> ?[–—-]"),
        body=(r"^was born (?:[^.;\d]{0,60} )?on <v:DATE>",),
        hints=r"\bborn\b|\bbirth",
        compared=Compared(
            ("Who was born earlier, {a} or {b}?", "Who was born first, {a} or {b}?", "Who is older, {a} or {b}?",
             "Which {n} was born earlier, {a} or {b}?", "Of {a} and {b}, who was born first?"),
            ("Who was born later, {a} or {b}?", "Who is younger, {a} or {b}?",
             "Which {n} was born later, {a} or {b}?", "Of {a} and {b}, who is the younger one?"),
        ),
    ),
    Relation(
        "death date", "person", "date",
        (
            ("When did {s} die?", "the date of death of {s}"),
            ("What is the date of death of {s}?", "the date of death of {s}"),
            ("On what date did {s} die?", "the date on which {s} died"),
            ("In which year did {s} die?", "the year in which {s} died"),
        ),
        brackets=(r"[–—-] ?<v:DATE>$", r"\bdied <v:DATE>"),
        body=(r"^died (?:[^.;\d,]{0,50},? )?on <v:DATE>",),
        hints=r"\bdie[ds]?\b|\bdeath|\bkilled|\bdrown|\bmurder|\bexecuted|–|\bdying|\bshot\b|\blate\b",
        compared=Compared(
            ("Who died earlier, {a} or {b}?", "Who died first, {a} or {b}?",
             "Which {n} died earlier, {a} or {b}?"),
            ("Who died later, {a} or {b}?", "Which {n} died later, {a} or {b}?"),
        ),
    ),
    Relation(
        "birthplace", "person", "place",
        (
            ("Where was {s} born?", "the place where {s} was born"),
            ("In which place was {s} born?", "the place in which {s} was born"),
            ("What is the birthplace of {s}?", "the birthplace of {s}"),
            ("In which {t} was {s} born?", "the {t} in which {s} was born"),
        ),
        brackets=(r"\bborn\b[^;]{0,60}\d{4},? (?:(?:in|at) )?<v:PLACE>$", r"^(?:born )?<DATE>,? (?:in )?<v:PLACE> ?[–—-]", r"\bborn (?:in|at) <v:PLACE>,? ?<YEAR>?$"),
        body=(r"^was born (?:on <DATE>,? |in <YEAR>,? )?(?:in|at) (?:the (?:city|town|village) of )?<v:PLACE>"
              r"(?=[.;]|,? (?:on|in|to|and|where|as|into|but|the|son|daughter|was|is|during)\b|$)",
              r"^was born (?:and (?:raised|brought up|grew up)) in <v:PLACE>(?=[.;]|,? (?:and|to|in|but)\b|$)"),
        lead=(r"^(?:is|was) an? [^.;\"]{3,80}\bborn in <v:PLACE>(?=[.;]|,? (?:and|who|on)\b|$)",),
        hints=r"\bborn\b|\bbirth|\bnative\b|\braised\b|\bgrew up\b|\bfrom\b|\bhometown",
        compared=Compared(same=(
            "Were {a} and {b} born in the same place?", "Were {a} and {b} both born in the same place?",
            "Do {a} and {b} have the same birthplace?",
        )),
    ),
    Relation(
        "place of death", "person", "place",
        (
            ("Where did {s} die?", "the place where {s} died"),
            ("In which place did {s} die?", "the place in which {s} died"),
            ("In which {t} did {s} die?", "the {t} in which {s} died"),
            ("What was the place of death of {s}?", "the place of death of {s}"),
        ),
        brackets=(r"[–—-] ?<DATE>,? (?:in )?<v:PLACE>$",),
        body=(r"^died (?:of [a-z ]{3,40} |suddenly |peacefully )?(?:on <DATE>,? |in <YEAR>,? )?(?:at [a-z ]{4,30} )?"
              r"(?:in|at) <v:PLACE>(?=[.;]|,? (?:on|in|at|and|after|from|of|aged|where|but)\b|$)",),
        hints=r"\bdie[ds]?\b|\bdeath|\bkilled|\bburied|\bdrown|\bmurder|\bexecuted|\bshot\b",
    ),
    Relation(
        "grave", "person", "name",
        (
            ("Where is {s} buried?", "the place where {s} is buried"),
            ("In which place was {s} buried?", "the place in which {s} was buried"),
            ("Where are the remains of {s} buried?", "the burial place of {s}"),
        ),
        body=(r"^(?:died [^.;]{3,60},? and |is |was )?(?:is |was )?(?:buried|interred) (?:in|at) (?:the )?<v:NAME>"
              r"(?=[.;,]|,? (?:in|on|and|at|near|with|alongside|beside)\b|$)",),
        hints=r"\bburied|\bburial|\binterred|\bgrave|\bcemetery|\bashes|\btomb|\bcrypt|\bremains\b|\bcremat",
    ),
    Relation(
        "nationality", "person", "text",
        (
            ("What is the nationality of {s}?", "the nationality of {s}"),
            ("What nationality is {s}?", "the nationality of {s}"),
        ),
        lead=(r"^(?:is|was) an? (?:(?:former|retired|professional|late|\d+th-century) ){0,2}<v:NATION>(?= [a-z])",),
        hints=r"",
        compared=Compared(same=(
            "Do {a} and {b} have the same nationality?", "Are {a} and {b} of the same nationality?",
            "Were {a} and {b} of the same nationality?",
        )),
    ),
    Relation(
        "university", "person", "name",
        (
            ("From which university or college did {s} graduate?",
             "the university or college from which {s} graduated"),
            ("Which university or college did {s} graduate from?", "the alma mater of {s}"),
        ),
        body=(r"^(?:is a graduate of|graduated from|holds [^.;,]{3,50} from|received (?:his|her|a|an) [^.;,]{3,60} from"
              r"|earned (?:his|her|a|an) [^.;,]{3,60} from) (?:the )?<v:INSTITUTION>"
              r"(?=[.;]|,? (?:in|with|where|before|and (?:was|is|became|then|has))\b|$)",),
        hints=r"\bgraduat|\buniversit|\bcollege|\bdegree|\bB\.?A\b|\balumn|\bschool",
    ),
    Relation(
        "school", "person", "name",
        (
            ("Where was {s} educated?", "the place where {s} was educated"),
            ("At which school or university did {s} study?", "the school or university at which {s} studied"),
            ("Which school or university did {s} attend?", "the school or university that {s} attended"),
        ),
        body=(rf"^{_EDUCATED} (?:[a-z]+(?: [a-z]+)? )?(?:at |in )?(?:the )?<v:INSTITUTION>"
              r"(?=[.;]|,? (?:in|with|where|before|from|under|until|for|receiving|graduating)\b|$)",),
        hints=r"\bgraduat|\buniversit|\bcollege|\bdegree|\balumn|\bschool|\bstud(?:y|ied)|\beducat|\bacademy",
    ),
    Relation(
        "subject of study", "person", "text",
        (("What did {s} study?", "the subject that {s} studied"),
         ("Which subject did {s} study?", "the subject that {s} studied")),
        body=(r"^(?:studied|read) (?P<v>[a-z]+(?: [a-z]+)?) at (?:the )?[A-Z]",),
        hints=r"\bstud(?:y|ied)|\bdegree|\bmajor|\bgraduat",
    ),
    Relation(
        "teacher", "person", "person",
        (
            ("Under whom did {s} study?", "the person under whom {s} studied"),
            ("With whom did {s} study?", "the person with whom {s} studied"),
            ("Who taught {s}?", "the teacher of {s}"),
            ("Whose pupil was {s}?", "the person whose pupil {s} was"),
        ),
        lead=(r"\b(?:student|pupil|disciple) of <OF><v:PERSON><ONE>",),
        body=(r"^(?:studied|trained)(?: [a-z]+){0,3} (?:with|under) <OF><v:PERSON><ONE>",
              r"^was (?:a |the )?(?:student|pupil|disciple) of <OF><v:PERSON><ONE>",
              r"^was taught (?:[a-z]+ )?by <OF><v:PERSON><ONE>"),
        hints=r"\bstud(?:y|ied|ent)|\bpupil|\btaught|\bteacher|\btutor|\btrained|\bmentor|\blessons",
    ),
    Relation(
        "spouse", "person", "person",
        (
            ("Who was {s} married to?", "the person to whom {s} was married"),
            ("Whom did {s} marry?", "the person whom {s} married"),
            ("Who was the spouse of {s}?", "the spouse of {s}"),
        ),
        lead=(r"\b(?:is|was) (?:the )?(?:wife|husband|widow) of <OF><v:PERSON><ONE>",),
        body=(r"^(?:is|was) married to <OF><v:PERSON><ONE>",
              r"^(?:has been|had been) married to <OF><v:PERSON><ONE>",
              r"^married <OF><v:PERSON><ONE>"),
        hints=r"\bmarri|\bwife|\bhusband|\bspouse|\bwidow|\bpartner|\bdivorc|\bwed",
    ),
    Relation(
        "parent", "person", "person",
        (
            ("Whose child is {s}?", "the person whose child {s} is"),
            ("Of whom is {s} the son or daughter?", "the parent of {s}"),
            ("Who is a parent of {s}?", "the parent of {s}"),
        ),
        lead=(r"\b(?:the|a) (?:\w+ )?(?:son|daughter|child) of <OF><v:PERSON><ONE>",),
        body=(r"^(?:is|was) (?:the|a) (?:[a-z]+ )?(?:son|daughter|child) of <OF><v:PERSON><ONE>",),
        hints=r"\bson\b|\bdaughter|\bfather|\bmother|\bparent|\bchild|\bborn to\b|\bfamily",
    ),
    Relation(
        "sibling", "person", "person",
        (
            ("Whose brother or sister is {s}?", "the person whose brother or sister {s} is"),
            ("Who is a sibling of {s}?", "the sibling of {s}"),
        ),
        lead=(r"\bthe (?:\w+ )?(?:brother|sister) of <OF><v:PERSON><ONE>",),
        body=(r"^(?:is|was) (?:the|a) (?:[a-z]+ )?(?:brother|sister) of <OF><v:PERSON><ONE>",),
        hints=r"\bbrother|\bsister|\bsibling|\btwin",
    ),
    Relation(
        "uncle or aunt", "person", "person",
        (("Whose nephew or niece is {s}?", "the person whose nephew or niece {s} is"),
         ("Who is an uncle or aunt of {s}?", "the uncle or aunt of {s}")),
        lead=(r"\b(?:the|a) (?:\w+ )?(?:nephew|niece) of <OF><v:PERSON><ONE>",),
        body=(r"^(?:is|was) (?:the|a) (?:[a-z]+ )?(?:nephew|niece) of <OF><v:PERSON><ONE>",),
        hints=r"\bnephew|\bniece|\buncle|\baunt",
    ),
    Relation(
        "band", "person", "name",
        (
            ("To which band does {s} belong?", "the band to which {s} belongs"),
            ("Of which band is {s} a member?", "the band of which {s} is a member"),
            ("In which band does {s} play?", "the band in which {s} plays"),
        ),
        lead=(r"\b(?:guitarist|drummer|bassist|vocalist|singer|keyboardist|frontman|member|pianist)"
              r" (?:and [a-z -]+ )?(?:of|for|in|with) the (?:<NATION> )?(?:[a-z/-]+ ){0,3}band <v:NAME>"
              r"(?=[.;]|,(?! [A-Z\"])|,? (?:and [a-z]|from|who|which|until|since|in)|$)",),
        hints=r"\bband|\bgroup|\bduo|\btrio|\bmember",
    ),
    Relation(
        "home", "person", "place",
        (
            ("Where does {s} live?", "the place where {s} lives"),
            ("In which place does {s} live?", "the place in which {s} lives"),
        ),
        body=(r"^(?:currently |now )?(?:lives|resides) (?:and works )?(?:in|at) <v:PLACE>"
              r"(?=[.;]|,? (?:with|and|where|but|as)\b|$)",),
        hints=r"\bliv(?:e|es|ed|ing)\b|\bresid|\bbased\b|\bhome\b",
    ),
    Relation(
        "team", "person", "name",
        (
            ("For which team does {s} play?", "the team for which {s} plays"),
            ("Which team does {s} play for?", "the team that {s} plays for"),
            ("Which club or team has {s} as a player?", "the club or team of {s}"),
        ),
        lead=(r"\bwho (?:currently )?plays (?:as an? [a-z -]+ )?for (?:the )?(?:<NATION> )?(?:[a-z]+ ){0,3}<v:NAME>"
              r"(?=[.;]|,? (?:in|of|and|as|on|at|with|whom)\b|$)",),
        body=(r"^(?:currently )?plays for (?:the )?(?:[a-z]+ ){0,3}<v:NAME>"
              r"(?=[.;]|,? (?:in|of|and|as|on|at|with)\b|$)",),
        hints=r"\bplay|\bteam|\bclub|\bsigned|\bsquad",
    ),
    Relation(
        "position", "person", "text",
        (("In which position does {s} play?", ""), ("What position does {s} play?", ""),
         ("As what does {s} play?", "")),
        lead=(r"\bwho (?:currently )?plays as an? (?P<v>(?:(?!(?:and|or)\b)[a-z]+[ -]){0,2}(?!(?:and|or)\b)[a-z]+)(?= for\b|[.;,]|$)",),
        body=(r"^(?:mainly |primarily |usually )?plays as an? (?P<v>(?:(?!(?:and|or)\b)[a-z]+[ -]){0,2}(?!(?:and|or)\b)[a-z]+)(?= for\b|[.;,]|$)",),
        hints=r"\bposition|\bplay|\bgoalkeeper|\bdefender|\bmidfielder|\bstriker|\bforward|\bwinger",
    ),
    Relation(
        "political party", "person", "name",
        (
            ("To which political party does {s} belong?", "the political party to which {s} belongs"),
            ("Of which party is {s} a member?", "the party of which {s} is a member"),
            ("Which political party is {s} a member of?", "the political party of {s}"),
        ),
        lead=(r"\bmember of (?:the )?(?P<v>(?:[A-Z][\w'-]+ ){1,4}Party)\b",),
        body=(r"^(?:is|was) a member of (?:the )?(?P<v>(?:[A-Z][\w'-]+ ){1,4}Party)\b",),
        hints=r"\bparty\b|\bdemocrat|\brepublican|\bconservative|\blabour|\bliberal|\bsocialist|\bcommunist",
    ),
    Relation(
        "birth name", "person", "text",
        (("What was the birth name of {s}?", ""), ("Under which name was {s} born?", ""),
         ("What is the real name of {s}?", "")),
        brackets=(r"^(?:né|née|born) <v:PERSON>(?=[;,]| (?:on|in)\b|$)",),
        body=(r"^was born <v:PERSON>(?=,? (?:on|in|to)\b|[.;]|$)",),
        hints=r"\bborn\b|\bname|\bnée?\b|\bknown as",
    ),
    Relation(
        "nickname", "person", "text",
        (("What is the nickname of {s}?", ""), ("By which nickname is {s} known?", ""),
         ("How is {s} nicknamed?", "")),
        body=(r"^(?:is|was) (?:nicknamed|also nicknamed|known by the nickname) (?:the )?\"(?P<v>[^\"]{3,30})\"",),
        lead=(r"^(?:is|was) [^\"]{3,90}\bnicknamed \"(?P<v>[^\"]{3,30})\"",),
        hints=r"nickname|\bknown as|\bcalled|\"",
    ),
    Relation(
        "professorship", "person", "name",
        (
            ("At which institution is {s} a professor?", "the institution at which {s} is a professor"),
            ("Where is {s} a professor?", "the place where {s} is a professor"),
            ("Where does {s} teach?", "the place where {s} teaches"),
        ),
        lead=(r"\b(?:is|currently) an? [^.;\"]{0,60}\b[Pp]rofessor (?:of [A-Za-z ]{3,40} )?at (?:the )?<v:INSTITUTION>"
              r"(?=[.;]|,? (?:and|in|where|who)\b|$)",),
        body=(r"^(?:is (?:currently )?an? [^.;\"]{0,60}\b[Pp]rofessor|teaches)(?: [a-z ]{3,40})? (?:of [A-Za-z ]{3,40} )?at (?:the )?<v:INSTITUTION>"
              r"(?=[.;]|,? (?:and|in|where|who)\b|$)",),
        hints=r"\bprofess|\bteach|\btaught|\blectur|\bfaculty|\buniversit",
    ),
    Relation(
        "former job", "person", "text",
        (("As what did {s} work?", ""), ("What did {s} work as?", "")),
        body=(r"^(?:has )?worked as an? (?P<v>(?:(?!and\b)[a-z]+[ -]){0,2}(?!and\b)[a-z]+)(?= (?:in|at|for|before|until|with|from)\b|[.;,]|$)"
              r"(?!,| and)",),
        hints=r"\bwork|\bjob|\bcareer|\bemploy|\bas an?\b",
    ),
    Relation(
        "character", "person", "name",
        (("For which role is {s} best known?", ""), ("Which role is {s} best known for?", "")),
        lead=(r"\b(?:best |well )?known for (?:his|her|playing|portraying) (?:the )?(?:role (?:as|of) |portrayal of )?"
              r"(?:the )?<v:PERSON> (?=in (?:the |\"|[A-Z]))",),
        body=(r"^is (?:best |well )?known for (?:his|her) (?:role (?:as|of) |portrayal of )(?:the )?<v:PERSON> (?=in )",),
        hints=r"\brole|\bplay|\bportray|\bcharacter|\bknown for",
    ),
    Relation(
        "award", "person", "name",
        (("Which award or prize did {s} receive?", ""), ("Which prize or award was given to {s}?", "")),
        body=(r"^(?:has )?(?:won|received|was awarded) the (?P<v>(?:[A-Z\d][\w'’.-]* (?:of |for |the )?){1,5}(?:Prize|Award|Medal|Trophy))(?= (?:in|for|from|at)\b|[.;,]|$)",),
        hints=r"award|prize|medal|trophy|honou?r|won\b|nominat",
    ),
    Relation(
        "debut", "person", "name",
        (("With which work did {s} make a debut?", "the work with which {s} made a debut"),
         ("In which work did {s} first appear?", "the work in which {s} first appeared")),
        body=(r"^made (?:his|her) (?:[a-z-]+ ){0,2}debut (?:in|with|on) (?:the )?(?:<YEAR> )?(?:[\w-]+ ){0,4}\"(?P<v>[^\"]{2,50})\"",),
        hints=r"debut|first|\bbegan|\bstarted",
    ),
    Relation(
        "profession", "person", "text",
        (("What is the profession of {s}?", ""), ("What does {s} do for a living?", "")),
        lead=(r"^is an? (?:(?:former|retired|professional) )?(?:<NATION>(?:-<NATION>)? )?(?P<v>[a-z]+(?: [a-z]+)?)(?= (?:from|who|born|known|based)\b|[.;]|$)",),
        hints=r"",
    ),
    Relation(
        "move", "person", "place",
        (("To which place did {s} move?", "the place to which {s} moved"), ("Where did {s} move?", "")),
        body=(r"^(?:moved|emigrated|relocated) (?:with [a-z ]{3,30} )?(?:from [A-Z]\w+ )?to <v:PLACE>(?=[.;]|,? (?:in|at|to|where|when|and|with|as|after)\b|$)",),
        hints=r"\bmov|\bemigrat|\brelocat|\bsettl|\bwent to",
    ),
)  # fmt: skip
