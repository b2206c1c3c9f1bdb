"""Relations of places, buildings, schools, bands, companies, teams, species, ships and discoveries."""

from __future__ import annotations

from src_data.passage_questions.relation import Compared, Relation

_WHEN = r"(?P<v><DATE>|<YEAR>)"
_STOP = r"(?=[.;(]|,(?! [A-Z])|,? (?:in|on|for|as|from|since|at|to|with|until|near|about|which|who|that|and (?:is|was|has|[a-z]))\b|$)"
_SITE = "building school nature organisation company settlement team"
_REGIONS = r"(?:[A-Z][\w'.-]+ ){1,3}"
_SAME_COUNTY = Compared(same=(
    "Are {a} and {b} in the same county?", "Are {a} and {b} located in the same county?",
    "Do {a} and {b} belong to the same county?",
))  # fmt: skip

THINGS = (
    Relation(
        "county", f"{_SITE} region", "place",
        (("In which county is {s}?", "the county in which {s} is"), ("Which county does {s} belong to?", "the county to which {s} belongs"),
         ("What is the county of {s}?", "the county of {s}")),
        lead=(rf"^(?:is|was) an? [^.;\"]{{3,90}}?\bin (?:[A-Z][\w' -]+, )?(?P<v>{_REGIONS}County)(?=,|[.]| in\b|$)",),
        hints=r"\bcount(?:y|ies)\b", compared=_SAME_COUNTY,
    ),
    Relation(
        "rural district", "settlement", "place",
        (("In which rural district is {s}?", "the rural district in which {s} is"), ("Which rural district does {s} belong to?", "the rural district to which {s} belongs")),
        lead=(rf"^(?:is|was) an? [^.;\"]{{3,60}}?\bin (?:the )?(?P<v>{_REGIONS}Rural District)(?=,| of\b|[.]| in\b|$)",), hints=r"\bdistrict",
    ),
    Relation(
        "location", "building school company organisation nature team band event", "place",
        (("Where is {s}?", "the place where {s} is"), ("In which place is {s}?", "the place in which {s} is"), ("Where is {s} located?", "the location of {s}"),
         ("In which {t} is {s}?", "the {t} in which {s} is")),
        lead=(r"^(?:is|was) an? [^.;,\"]{3,70}?\b(?:located|situated|based|headquartered) (?:in|at) (?:the (?:city|town|village) of )?<v:PLACE>"
              r"(?=[.;]|,? (?:and|that|which|with|on|near|built|designed|founded|by)\b|, (?:the )?[a-z]|$)",),
        body=(r"^(?:is|was) (?:located|situated|based|headquartered) in (?:the (?:city|town|village) of )?<v:PLACE>(?=[.;]|,? (?:and|that|which|with|on|near|at)\b|, [a-z]|$)",),
        hints=r"\blocated|\bsituated|\bbased|\bheadquarter|\bin [A-Z]|\bnear\b|\bat\b",
        compared=Compared(same=("Are {a} and {b} in the same place?", "Are {a} and {b} located in the same place?")),
    ),
    Relation(
        "architect", "building school", "person",
        (("Who designed {s}?", "{who} who designed {s}"), ("Who was the architect of {s}?", "the architect of {s}"),
         ("Which architect planned {s}?", "the architect who planned {s}"), ("By whom was {s} designed?", "the person by whom {s} was designed")),
        lead=(r"\bdesigned (?:in <YEAR> )?(?:in [^.;,]{3,40} (?:style )?)?by <OF><v:PERSON><ONE>",),
        body=(r"^(?:is|was) (?:built in <YEAR> and )?designed (?:in <YEAR> )?(?:in [^.;,]{3,40} (?:style )?)?by <OF><v:PERSON><ONE>",),
        hints=r"\bdesign|\barchitect|\bplans?\b|\bplanned|\bengineer",
        compared=Compared(same=("Were {a} and {b} designed by the same architect?",)),
    ),
    Relation(
        "builder", "building ship", "name",
        (("Who built {s}?", "the builder of {s}"), ("By whom was {s} built?", "the person or firm by whom {s} was built"), ("Who is the builder of {s}?", "the builder of {s}")),
        lead=(r"\bbuilt (?:in <YEAR> )?by <OF><v:NAME>(?=[.;(]|,? (?:in|on|for|as|from|at|between|during)\b|$)",),
        body=(r"^was (?:built|constructed) (?:in <YEAR> )?by <OF><v:NAME>(?=[.;(]|,? (?:in|on|for|as|from|at|between|during)\b|$)",),
        hints=r"\bbuil[td]|\bconstruct|\bshipyard|\byard|\berected",
    ),
    Relation(
        "year of building", "building ship machine", "date",
        (("When was {s} built?", ""), ("In which year was {s} built?", ""), ("What is the year of construction of {s}?", "")),
        lead=(r"^(?:is|was) an? [^.;\"]{3,90}?\b(?:built|constructed|completed|erected) in (?P<v><YEAR>)",),
        body=(r"^was (?:designed [^.;]{3,40} and )?(?:built|constructed|completed|erected) in (?P<v><YEAR>)",),
        hints=r"\b(?:1[0-9]|20)\d\d",
        compared=Compared(
            ("Which {n} was built earlier, {a} or {b}?", "Which {n} is older, {a} or {b}?", "Which was built first, {a} or {b}?"),
            ("Which {n} was built later, {a} or {b}?", "Which {n} is newer, {a} or {b}?")),
    ),
    Relation(
        "opening", "building school nature company", "date",
        (("When was {s} opened?", ""), ("When did {s} open?", ""), ("On what date was {s} opened?", "")),
        lead=(rf"\b(?:opened|inaugurated) (?:to the public )?(?:on|in) {_WHEN}",),
        body=(rf"^(?:was |first )?(?:officially )?(?:opened|inaugurated)(?: to the public)? (?:on|in) {_WHEN}",),
        hints=r"\bopen|\binaugurat|\b(?:1[0-9]|20)\d\d",
        compared=Compared(
            ("Which {n} was opened first, {a} or {b}?", "Which {n} opened earlier, {a} or {b}?", "Which was inaugurated earlier, {a} or {b}?"),
            ("Which {n} was opened later, {a} or {b}?", "Which {n} opened later, {a} or {b}?")),
    ),
    Relation(
        "founding", "school company band team organisation settlement paper network", "date",
        (("When was {s} founded?", ""), ("In which year was {s} founded?", ""), ("When did {s} come into being?", ""), ("What is the founding year of {s}?", "")),
        lead=(rf"^(?:is|was|are|were) an? [^;\"]{{3,120}}?\b(?:founded|formed|established|started|created) (?:in [A-Z][^.;,\d]{{2,30}},? )?(?:on|in) {_WHEN}",),
        body=(rf"^(?:was|were) (?:originally |first )?(?:founded|formed|established|started|created|incorporated)(?: in [A-Z][^.;\d]{{2,40}},?)? (?:on|in) {_WHEN}",),
        hints=r"\bfound|\bform|\bestablish|\bstart|\bcreat|\b(?:1[0-9]|20)\d\d|\bsince",
        compared=Compared(
            ("Which {n} was founded earlier, {a} or {b}?", "Which {n} was established first, {a} or {b}?", "Which {n} is older, {a} or {b}?",
             "Which came into being first, {a} or {b}?"),
            ("Which {n} was founded later, {a} or {b}?", "Which {n} is younger, {a} or {b}?", "Which {n} was established later, {a} or {b}?"),
            ("Were {a} and {b} founded in the same year?",)),
    ),
    Relation(
        "founder", "school company band team organisation settlement network", "person",
        (("Who founded {s}?", "{who} who founded {s}"), ("Who is the founder of {s}?", "the founder of {s}"),
         ("By whom was {s} founded?", "the person by whom {s} was founded"), ("Who established {s}?", "the person who established {s}")),
        lead=(r"\b(?:founded|established|formed|started|fronted) (?:in <YEAR> )?by <OF><v:PERSON><ONE>",),
        body=(r"^(?:was|were) (?:originally )?(?:founded|established|formed|started)(?: (?:on|in) (?:<DATE>|<YEAR>))?(?: in [A-Z][\w, ]{2,30})? by <OF><v:PERSON><ONE>",),
        hints=r"\bfound|\bestablish|\bform|\bstart|\bcreat",
        compared=Compared(same=("Were {a} and {b} founded by the same person?",)),
    ),
    Relation(
        "place of founding", "band", "place",
        (("Where was {s} formed?", "the place where {s} was formed"), ("From which place does {s} come?", "the place from which {s} comes"),
         ("In which place was {s} formed?", "the place in which {s} was formed")),
        lead=(r"^(?:is|was|are|were) an? [^.;\"]{3,80}?\b(?:from|formed in|founded in|based in) <v:PLACE>(?=[.;]|,? (?:in|that|which|and|by|formed|who|consisting|whose|with|signed|featuring)\b|$)",),
        body=(r"^(?:was|were) formed (?:in <YEAR> )?in <v:PLACE>(?=[.;]|,? (?:in|and|by|when)\b|$)",),
        hints=r"\bfrom\b|\bform|\bbased|\bfound|\bin [A-Z]",
        compared=Compared(same=("Do {a} and {b} come from the same place?",)),
    ),
    Relation(
        "population", "settlement region", "number",
        (("What is the population of {s}?", ""), ("How many people live in {s}?", ""), ("How many inhabitants does {s} have?", "")),
        body=(r"^(?:has|had) (?:a|an estimated|a total) population of (?:about |around |approximately )?<v:NUMBER>(?= (?:people|inhabitants|residents|at|as|in|according)|[.,;(]|$)",
              r"^(?:population )?(?:was|is) <v:NUMBER> (?:people )?(?:at|as of|in) the (?:<YEAR>) census"),
        hints=r"\bpopulation|\bpeople|\binhabitants|\bcensus|\bresidents",
        compared=Compared(
            ("Which {n} has fewer inhabitants, {a} or {b}?", "Which {n} has the smaller population, {a} or {b}?"),
            ("Which {n} has more inhabitants, {a} or {b}?", "Which {n} has the larger population, {a} or {b}?")),
    ),
    Relation(
        "namesake", "settlement region nature building school ship asteroid", "person",
        (("After whom or what is {s} named?", "the person or thing after which {s} is named"),
         ("Who gave {s} its name?", "the namesake of {s}")),
        lead=(r"\bnamed (?:after|for|in honou?r of) <OF><v:PERSON><ONE>",),
        body=(r"^(?:is|was) named (?:after|for|in honou?r of) <OF><v:PERSON><ONE>",),
        hints=r"\bname[ds]?\b|\bhonou?r",
    ),
    Relation(
        "county seat", "region", "place",
        (("What is the county seat of {s}?", "the county seat of {s}"), ("Which place is the seat of {s}?", "the place that is the seat of {s}")),
        body=(r"^(?:county )?seat is (?:the (?:city|town) of )?<v:PLACE>(?=[.;]|$)", r"^has its (?:county )?seat (?:in|at) <v:PLACE>(?=[.;]|$)"),
        hints=r"\bseat\b|\bcapital",
    ),
    Relation(
        "river mouth", "nature", "name",
        (("Into which water does {s} flow?", "the water into which {s} flows"), ("Of which river is {s} a tributary?", "the river of which {s} is a tributary")),
        lead=(rf"\btributary of (?:the )?<v:NAME>{_STOP}",), body=(rf"^(?:flows|empties|drains) into (?:the )?<v:NAME>{_STOP}",),
        hints=r"\btributary|\bflow|\bempt|\bdrain|\bjoin",
    ),
    Relation(
        "elevation", "nature settlement", "number",
        (("How high is {s}?", ""), ("What is the elevation of {s}?", ""), ("What is the height of {s}?", "")),
        lead=(r"\b(?:elevation of|rises to|height of) (?P<v><NUMBER> ?(?:feet|ft|metres|meters|m)\b)",),
        body=(r"^(?:has an elevation of|rises to|lies at an (?:altitude|elevation) of|is at an elevation of|is) (?:about |approximately )?(?P<v><NUMBER> ?(?:feet|ft|metres|meters|m))(?= (?:high|tall|above)|[.,;]|$)",),
        hints=r"\belevation|\bheight|\bhigh\b|\baltitude|\btall|\bfeet|\bmet(?:er|re)s|\bm\b",
    ),
    Relation(
        "first ascent", "nature", "date",
        (("When was {s} first climbed?", ""), ("When did the first ascent of {s} take place?", "")),
        lead=(rf"\bfirst (?:climbed|ascended) (?:on|in) {_WHEN}",), body=(rf"^was first (?:climbed|ascended) (?:[^.;\d]{{0,40}} )?(?:on|in) {_WHEN}",),
        hints=r"\bclimb|\bascen|\bsummit",
        compared=Compared(("Which {n} was first climbed earlier, {a} or {b}?",), ("Which {n} was first climbed later, {a} or {b}?",)),
    ),
    Relation(
        "discoverer", "any", "person",
        (("Who discovered {s}?", "{who} who discovered {s}"), ("By whom was {s} discovered?", "the person by whom {s} was discovered"),
         ("Who is the discoverer of {s}?", "the discoverer of {s}")),
        lead=(r"\bdiscovered (?:on <DATE>,? |in <YEAR>,? )?by <OF><v:PERSON><ONE>",),
        body=(r"^was (?:first )?discovered (?:on <DATE>,? |in <YEAR>,? )?by <OF><v:PERSON><ONE>",), hints=r"\bdiscover|\bfound\b|\bdetected",
    ),
    Relation(
        "discovery", "any", "date",
        (("When was {s} discovered?", ""), ("What is the date of the discovery of {s}?", "")),
        lead=(rf"\bdiscovered (?:by [^.;,]{{3,40}} )?(?:on|in) {_WHEN}",), body=(rf"^was (?:first )?discovered (?:by [^.;,]{{3,40}} )?(?:on|in) {_WHEN}",),
        hints=r"\bdiscover|\bfound\b",
        compared=Compared(("Which was discovered first, {a} or {b}?", "Which {n} was discovered earlier, {a} or {b}?"), ("Which was discovered later, {a} or {b}?",)),
    ),
    Relation(
        "inventor", "any", "person",
        (("Who invented {s}?", "{who} who invented {s}"), ("Who is the inventor of {s}?", "the inventor of {s}"), ("By whom was {s} invented?", "the person by whom {s} was invented")),
        lead=(r"\b(?:invented|devised|developed) (?:in <YEAR> )?by <OF><v:PERSON><ONE>",),
        body=(r"^was (?:first )?(?:invented|devised|developed) (?:in <YEAR> )?by <OF><v:PERSON><ONE>",), hints=r"\binvent|\bdevis|\bdevelop|\bcreat",
    ),
    Relation(
        "describer", "species", "person",
        (("Who first described {s}?", "{who} who first described {s}"), ("By whom was {s} described?", "the person by whom {s} was described")),
        lead=(r"\bdescribed (?:in <YEAR> )?by <OF><v:PERSON><ONE>",), body=(r"^was (?:first )?(?:scientifically )?described (?:in <YEAR> )?by <OF><v:PERSON><ONE>",), hints=r"\bdescrib|\bnamed",
    ),
    Relation(
        "family of species", "species", "name",
        (("To which family does {s} belong?", "the family to which {s} belongs"), ("Which family is {s} a member of?", "the family of {s}")),
        lead=(r"\bin the (?:[a-z-]+ )?family,? (?P<v>[A-Z][a-z]+(?:eae|dae|ae))\b", r"\b(?:belonging to|of) the family (?P<v>[A-Z][a-z]+(?:eae|dae|ae))\b"),
        hints=r"\bfamil", compared=Compared(same=("Do {a} and {b} belong to the same family?", "Are {a} and {b} of the same family?")),
    ),
    Relation(
        "native region", "species", "place",
        (("Where is {s} native?", ""), ("To which region is {s} native?", "")),
        lead=(r"\b(?:native|endemic) to (?:the )?<v:PLACE>(?=[.;]|$)",), body=(r"^(?:is|are) (?:native|endemic) to (?:the )?<v:PLACE>(?=[.;]|$)",),
        hints=r"\bnative|\bendemic|\bfound\b|\boccur|\bdistribut",
    ),
    Relation(
        "manufacturer", "machine company ship", "name",
        (("Which company made {s}?", "the company that made {s}"), ("Who manufactured {s}?", "the manufacturer of {s}"), ("By which company was {s} produced?", "the company by which {s} was produced")),
        lead=(rf"\b(?:manufactured|produced|developed|built|made) by (?:the )?(?:<NATION> )?(?:[a-z]+ ){{0,4}}<v:NAME>{_STOP}",),
        body=(rf"^(?:is|was) (?:manufactured|produced|developed|built|made) by (?:the )?(?:<NATION> )?(?:[a-z]+ ){{0,4}}<v:NAME>{_STOP}",),
        hints=r"\bmanufactur|\bproduc|\bbuil[td]|\bmade|\bdevelop",
    ),
    Relation(
        "owner", "company building team network paper school", "name",
        (("Who owns {s}?", "the owner of {s}"), ("To whom does {s} belong?", "the company or person to whom {s} belongs"), ("By whom is {s} owned?", "the owner of {s}")),
        lead=(rf"\b(?:owned(?: and operated)?|operated and owned) by (?:the )?<v:NAME>{_STOP}", rf"\b(?:subsidiary|division) of (?:the )?<v:NAME>{_STOP}"),
        body=(rf"^is (?:currently )?(?:owned(?: and operated)?) by (?:the )?<v:NAME>{_STOP}", rf"^is a (?:[a-z-]+ ){{0,2}}(?:subsidiary|division) of (?:the )?<v:NAME>{_STOP}"),
        hints=r"\bown|\bbelong|\bsubsidiar|\bdivision|\bacquired|\bbought",
    ),
    Relation(
        "headquarters", "company organisation paper network team", "place",
        (("Where are the headquarters of {s}?", "the place with the headquarters of {s}"), ("In which place is {s} headquartered?", "the place in which {s} is headquartered"),
         ("Where does {s} have its seat?", "the seat of {s}")),
        lead=(r"\b(?:headquartered|based|with headquarters) (?:in|at) <v:PLACE>(?=[.;]|,? (?:and|that|which|with|on)\b|, [a-z]|$)",),
        body=(r"^(?:is|was|are) (?:headquartered|based) (?:in|at) <v:PLACE>(?=[.;]|,? (?:and|that|which|with|on)\b|$)", r"^has its headquarters (?:in|at) <v:PLACE>(?=[.;]|,? (?:and|with)\b|$)"),
        hints=r"\bheadquarter|\bbased|\bseat|\boffice|\bin [A-Z]",
        compared=Compared(same=("Do {a} and {b} have their headquarters in the same place?",)),
    ),
    Relation(
        "home ground", "team", "name",
        (("At which ground does {s} play its home games?", "the ground at which {s} plays its home games"), ("What is the home stadium of {s}?", "the home stadium of {s}")),
        lead=(rf"\bplays? (?:its|their) home (?:games|matches) (?:at|in) (?:the )?<v:NAME>{_STOP}",), body=(rf"^plays? (?:its|their|all its|all their) home (?:games|matches) (?:at|in) (?:the )?<v:NAME>{_STOP}",),
        hints=r"\bhome\b|\bstadium|\bground|\barena|\bpark",
    ),
    Relation(
        "coach", "team", "person",
        (("Who coaches {s}?", "the coach of {s}"), ("Who is the coach of {s}?", "the coach of {s}")),
        lead=(r"\b(?:coached|managed|led) by <OF><v:PERSON><ONE>",), body=(r"^(?:is|was|are|were) (?:coached|managed|led) by <OF><v:PERSON><ONE>",), hints=r"\bcoach|\bmanage|\bled\b",
    ),
    Relation(
        "battle date", "event", "date",
        (("When was {s} fought?", ""), ("When did {s} take place?", ""), ("What is the date of {s}?", "")),
        lead=(r"\b(?:fought|took place|held|occurred) (?:[^.;\d]{0,40} )?on <v:DATE>",), body=(r"^(?:was )?(?:fought|took place|held|occurred) (?:[^.;\d]{0,40} )?on <v:DATE>",),
        hints=r"\b(?:1[0-9]|20)\d\d", compared=Compared(("Which {n} took place earlier, {a} or {b}?",), ("Which {n} took place later, {a} or {b}?",)),
    ),
    Relation(
        "commander", "event ship", "person",
        (("Who commanded {s}?", "{who} who commanded {s}"), ("Who was in command of {s}?", "the commander of {s}")),
        lead=(r"\b(?:commanded|led) by <OF><v:PERSON><ONE>",), body=(r"^was (?:commanded|led) by <OF><v:PERSON><ONE>",), hints=r"\bcommand|\bled\b|\bcaptain|\bgeneral|\bunder\b",
    ),
    Relation(
        "launch", "ship machine", "date",
        (("When was {s} launched?", ""), ("On what date was {s} launched?", "")),
        lead=(rf"\blaunched (?:[^.;\d]{{0,40}} )?(?:on|in) {_WHEN}",), body=(rf"^was launched (?:[^.;\d]{{0,40}} )?(?:on|in) {_WHEN}",), hints=r"\blaunch",
        compared=Compared(("Which {n} was launched earlier, {a} or {b}?",), ("Which {n} was launched later, {a} or {b}?",)),
    ),
    Relation(
        "students", "school", "number",
        (("How many students does {s} have?", ""), ("What is the number of students of {s}?", "")),
        lead=(r"\bwith (?:about |over |more than |approximately )?<v:NUMBER> (?:undergraduate )?students\b(?! and)",),
        body=(r"^(?:has|had|enrolls|serves) (?:about |over |more than |approximately )?<v:NUMBER> students\b(?! and)",), hints=r"\bstudents|\benrol",
        compared=Compared(("Which {n} has fewer students, {a} or {b}?",), ("Which {n} has more students, {a} or {b}?",)),
    ),
    Relation(
        "mascot", "school team", "name",
        (("What is the mascot of {s}?", ""), ("By which name are the teams of {s} known?", "")),
        body=(r"^mascot is (?:the )?<v:NAME>(?=[.;,]|$)",), hints=r"\bmascot|\bknown as|\bnickname|\bteams",
    ),
)  # fmt: skip
