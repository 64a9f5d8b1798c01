"""Placeholders that nobody filled in, and leftovers of templates: "[Your Name]", "{amount}", "$XX", "Hello undefined,"."""

from __future__ import annotations

import re
from typing import Literal

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import PatternSet, join_turns, judge_turns, list_patterns

_NOUNS = (
    "name|names|date|dates|amount|amounts|sum|company|employer|bank|brand|shop|store|product|item|device|model|number|no|id|address|street|"
    "city|town|state|country|region|zip|email|e-mail|phone|telephone|contact|link|url|website|site|page|time|day|days|week|weeks|month|months|"
    "year|years|age|topic|subject|persona|emotion|scenario|tier|client|customer|adviser|advisor|agent|user|assistant|figure|value|price|fee|"
    "fees|rate|percent|percentage|balance|total|salary|income|fund|funds|account|plan|policy|order|ticket|case|reference|title|role|position|"
    "job|department|team|location|place|school|hospital|relative|spouse|partner|child|friend|reason|detail|details|info|information|"
    "digits|digit|example|examples|text|content|placeholder|variable|parameter|signature|currency|quantity|deadline|weekday|season|hobby|occupation|"
    "profession|question|answer|response|redacted|withheld|blank|union|something|specific|specifics|description|feature|service|method|option|goal|term|"
    "duration|interest|limit|threshold|sender|recipient|first|last|here|here's|x|y|n|xx|xxx|tbd|todo"
)
_STARTERS = "your|my|our|their|his|her|client's|customer's|user's|insert|enter|add|fill|put|type|give|specify|choose|select|pick|replace|include|describe|state|name of"
_INSIDE = (
    rf"(?:(?i:(?:please\s+)?(?:{_STARTERS})\b[^\n]{{0,60}}?"
    rf"|(?:[\w'’#/.-]+,?\s+){{0,4}}(?:{_NOUNS})(?:\s+(?:of|in|for|here|goes here|to be \w+|\d+)\b[^\n]{{0,30}}?)?)"
    r"|[A-Z][A-Z\d]*(?:[_-][A-Z\d]+)+|[a-z]+(?:_[a-z\d]+)+)"
)
"""What a placeholder says between its brackets. Editors' insertions, such as "[the fund] fell", begin with an article."""

_SHOUTED = "NAME CITY STATE AMOUNT BANK COMPANY DATE NUMBER PARTNER HUSBAND WIFE EMPLOYER PRODUCT TOPIC PERSONA EMOTION COUNTRY FUND RELATIVE FRIEND".split()
"""Fields in capitals, where no article shows that the word is only stressed: "I live in CITY"."""

_PATTERNS = PatternSet(
    list_patterns(
        ("{{ }} {% %} <% %> {# <?", r"\{\{.*?(?:\}\}|$)|\}\}|\{%.*?(?:%\}|$)|<%.*?(?:%>|$)|%>|\{#.*?#\}|<\?(?:php|=).*", 0, "is a part of a template"),
        ("{", r"[$#%]?\{\s*[A-Za-z_][\w .\-|:'’,/]{0,60}\s*\}|\{\d*\}", 0, "is a placeholder"),
        ("[", rf"\[\[?\s*(?!(?i:the|a|an|sic)\b){_INSIDE}\s*\]\]?", 0, "is a placeholder"),
        ("[", r"\[\s*(?:e\.g\.[^\]\n]{0,40}|\.{2,}|…|_+|\?+|\s*|[A-Z]|[XYN]{2,}|x+|#+|\$+)\]", 0, "is a placeholder"),
        ("<", rf"<\s*(?![/\s\d]){_INSIDE}\s*>", 0, "is a placeholder"),
        ("(", r"\((?:please\s+)?(?:insert|fill in|enter|specify|to be (?:filled|inserted|added|completed|determined|confirmed))\b[^()\n]{0,60}\)|\((?:your|client|customer|company|bank|fund|first|last|full) ?(?:name|address|city|number|email|company|bank|employer)(?: here)?\)", re.IGNORECASE, "is a placeholder"),
        ("%( %1$ " + " ".join(f"%{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), r"%(?:\([a-z_]+\)[sdf]|(?<![\w%]%)[sd]\b|\d\$[sd]\b|[A-Z]+(?:_[A-Z]+)*%)", 0, "is a placeholder"),
        ("$ @", r"\$(?:[A-Z]{2,}(?:_[A-Z]+)*|[a-z]+(?:_[a-z]+)+|(?<![\w$]\$)[a-z]{3,})\b(?<!\$US)(?<!\$USD)|@@?[A-Z_]{3,}@@?", 0, "is a placeholder"),
        ("$x €x £x $␣x $n $y", r"[$€£]\s?[XYN](?:[,.]?[XYN]{2,3})*(?:[,.]\d+)?(?![\w’'])", 0, "is a placeholder"),
        (
            "xx",
            r"\bX{3,}(?:[,./-]X+)*(?![\w*•’']|(?:[ -]X{4})*[ -]?\d{2,})(?<!X{4} X{4})|\bXX(?:[,./-]XX+)+(?![\w*•’']|[ -]?\d{2,})|\bXX\s?(?:%|(?:percent|dollars|days|weeks|months|years|business days|"
            r"hours|times)\b)|\b(?:on|by|for|about|of|in|is|at|to|from|with|roughly|around|until|within|only|pay|save|earn|than|are) XX(?![\w’'-]|\s?\d)|(?<!\w)x{3,}(?![\w*-]|\s?\d)",
            0,
            "is a placeholder",
        ),
        ("␣x␣ ␣x% ␣n␣ ␣n% ␣y␣ ␣y%", r"(?<![\w’'.-])[XYN]\s?(?:%|(?:percent|dollars|days|weeks|months|years|business days|hours)\b)", 0, "is a placeholder"),
        ("_", r"(?<!\w)_{3,}(?!\w)|\b__[A-Za-z]+__\b|(?<!\w)_{2}(?=[\s.,%])", 0, "is a blank to fill in"),
        ("_", r"\b(?:(?=[A-Z_]*(?:NAME|DATE|AMOUNT|HERE|NUMBER|COMPANY|CITY|STATE|USER|CLIENT|CUSTOMER|ORDER|TOPIC|PERSONA|EMOTION|VALUE|FIELD|TEXT|PLACEHOLDER|YOUR|INSERT|FIGURE|PRICE|FEE|EMAIL|PHONE|ADDRESS))[A-Z]+(?:_[A-Z\d]+)+|(?:your|insert|client|customer|user|persona|first|last|full|company|account|order)_(?:[a-z]+_?)+|[a-z]+_(?:name|date|amount|here|id|number|topic|fee|rate|balance|total|price|age|years|months|percent|city|state|bank|plan|fund))\b", 0, "is a placeholder"),
        ("persona. parameters. variation. self. context.", r"\b(?:persona|parameters|variation)\.[a-z_]{3,}\b", 0, "is a variable of a template"),
        ("insert␣ name␣here name␣goes amount␣here amount␣goes text␣here text␣goes date␣here answer␣here link␣here number␣here content␣here details␣here figure␣here goes␣here here␣later be␣filled be␣inserted be␣completed enter␣the␣ enter␣your␣ put␣your␣ add␣your␣ address␣here info␣here email␣here response␣here", r"\b(?:INSERT|ENTER|ADD|PUT)\s+(?:[A-Z]+\s+){1,4}HERE\b|\b(?:NAME|AMOUNT|DATE|TEXT|ADDRESS|NUMBER|ANSWER|LINK|EMAIL|CONTENT|INFO|DETAILS|FIGURE)\s+(?:GOES?\s+)?HERE\b|\b[Ii]nsert\s+(?:\w+\s+){0,3}(?:name|date|amount|text|figure|number|detail|answer|response|address|link|rate|fee|bank|fund|city|state|info|value|reason|topic|example)s?\s+here\b|\byour\s+(?:\w+\s+)?(?:name|text|date|amount|answer|response|content)\s+here\b|\b(?:text|answer|response|content|message|quote|name)\s+goes\s+here\b|\bto be (?:filled|inserted|completed) (?:in )?(?:here|later)\b", 0, "is a placeholder"),
        (
            "[",
            r"^(?!.*\b(?:button|screen|key|press(?:ed)?|click(?:ed)?|tap(?:ped)?|says?|said|shows?|label|reads?|menu|sign|sticker|stamped?|typed?)\b).*(\[[A-Z]{3,}\])",
            0,
            "holds a placeholder",
        ),
        ("__", r"\d_{2,}(?!\w)", 0, "is a blank to fill in"),
        ("nnnn zzzz", r"\b[A-Z]*(?:N{4,}|Z{4,})\b", 0, "is a placeholder"),
        (
            "your␣name first␣name last␣name full␣name city,␣state dayname monthname ␣nth",
            r"(?:[Rr]egards|[Ss]incerely|[Ww]ishes|[Yy]ours|[Tt]hanks)(?:,\s*|\s+)(?:Your|My) Name\b|\b(?:[Mm]orning|[Ee]vening|[Aa]fternoon|Hi|Hello|Hey|Dear),? (?:First|Last|Full|Your) Name\b"
            r"|\bCity, State\b|\b(?:Day|Month)name\b|\b(?:on|by|until|before|after) the nth\b(?! time)",
            0,
            "is a placeholder",
        ),
        ("$n", r"\$n{1,3}\b(?![\w’'])|\$n,nnn", 0, "is a placeholder"),
        (
            "insert␣a␣ insert␣an␣ insert␣the␣ insert␣your␣",
            r"(?:^|[.!?]\s+)Insert (?:an?|the|your) (?:\w+ ){0,4}here\b",
            0,
            "is a placeholder",
        ),
        ("to␣follow) to␣come) to␣be␣named)", r"\([^()\n]{0,40}\b(?:to follow|to come|to be named|to be added)\)", 0, "is a placeholder"),
        ("yourcompany your-company yourdomain your-domain yourwebsite your-website yoursite companyname.com", r"\b(?:your-?(?:company|domain|website|site)|companyname)\.\w+", re.IGNORECASE, "stands for a name"),
        ("???", r"\b(?:EUR|USD|GBP|CHF) \?{2,}|\s\?{3,}\s(?=[a-z])", 0, "leaves out an amount"),
        ("0000000", r"(?<![\w,.-])0{7,}(?![\w-])", 0, "stands for a number"),
        ("␣amount", r"\b(?:put away|put aside|times|pays?|saves?|saving|earns?|owes?|costs?) amount\b", 0, "leaves out an amount"),
        ("$$ &", r"\$\$\w+\$\$|&[a-z_]{3,}&|~[a-z_]{3,}~", re.IGNORECASE, "is a placeholder"),
        ("00/00 0000-00 99/99 01/01/1970 1970-01-01 1900-01-01", r"\b(?:00/00/0+|0000-00-00|99/99/9+|01/01/1970|1970-01-01|1900-01-01)\b", 0, "stands for a date"),
        ("some␣company some␣bank some␣fund some␣city some␣name some␣product", r"\b(?:at|with|from|in|to|called|by|for) Some (?:Company|Bank|Fund|City|Name|Product)\b", 0, "stands for a name"),
        ("blah␣blah yadda", r"(?i)\bblah[ ,]+blah\b|\byadda[ ,]+yadda\b", 0, "is filler text"),
        (
            " ".join(f"␣{noun}" for noun in _SHOUTED),
            "|".join(rf"{noun}\b(?<=[a-z,] {noun})(?<!the {noun})(?<!my {noun})(?<!your {noun})(?<!a {noun})(?<!not {noun})(?<![st] {noun})(?! [A-Z\d])" for noun in _SHOUTED),
            0,
            "is a placeholder",
        ),
        ("$? $-- $* $# $... €? £?", r"[$€£]\s?(?:\?+|-{2,}|\*+|#+|\.{3})", 0, "leaves out an amount"),
        ("### ##% ()", r"(?<!\w)#{3,}(?!\w)(?=\s?[a-z.,])|#{2,}\s?%|(?<!\w)\(\s*\)(?!\w)", 0, "is a blank to fill in"),
        ("19xx 20xx 20x x,x x.x ␣nn␣ ␣nn%", r"\b(?:19|20)XX\b|\b20[X\d]X\b|\bX[,.]X{1,3}\b|\bN{2,}\s?(?:%|(?:percent|dollars|days|weeks|months|years)\b)", 0, "stands for a figure"),
        ("%% [% <$ {$ <#", r"%%\w+%%|\[%.{0,60}?%\]|<\$\w+>|\{\$\w+\}|<#\w+#>", 0, "is a part of a template"),
        (
            "client␣name customer␣name bank␣name fund␣name company␣name product␣name employer␣name city␣name surname lastname forename",
            r"\b(?:at|from|with|to|[Dd]ear|[Hh]i|[Hh]ello) (?:client|customer|bank|fund|company|product|employer|city) name\b|\b(?:Mr|Mrs|Ms|Dear|Hi|Hello)\.? (?:Surname|Lastname|Forename)\b",
            0,
            "is a placeholder",
        ),
        ("␣null is␣true is␣false", r"\b(?:for|of|about|on|to|at|by|with) null\b(?! and void)|\bis (?:True|False)\b", 0, "is a value that was missing"),
        ("at␣0x error", r"\bobject at 0x[\da-f]+|\b(?:Key|Type|Name|Value|Attribute|Undefined|Template)Error\b", 0, "is an error of a program"),
        ("#", r"#[a-z_]{3,}#", re.IGNORECASE, "is a placeholder"),
        ("firstname lastname username companyname", r"\b(?:First|Last|User|Company)name\b", 0, "is a placeholder"),
        (
            "name␣of␣",
            r"\b(?:from|at|with|to|by|in|called|named|for) name of (?:the )?(?:bank|company|person|fund|city|employer|client|customer|product|store|shop|plan|relative)\b",
            0,
            "is a placeholder",
        ),
        (
            "(add (put (write (enter (explain (describe (state (give (name",
            r"\((?:add|put|write|enter|name|give|explain|describe|state)\s[^()\n]*\b(?:here|later|once known|if known)\b[^()\n]*\)",
            re.IGNORECASE,
            "is a placeholder",
        ),
        (
            "has/have is/are was/were husband/wife wife/husband son/daughter daughter/son it/they mother/father brother/sister",
            r"\b(?:has/have|is/are|was/were|husband/wife|wife/husband|son/daughter|daughter/son|it/they|mother/father|brother/sister)\b",
            re.IGNORECASE,
            "leaves a choice open",
        ),
        ("(s)", r"\w\(s\)[^\n]*\w\(s\)", 0, "leaves a choice open"),
        (".....", r"(?<=\s)\.{5,}(?=\s)", 0, "is a blank to fill in"),
        (
            "␣, ␣␣",
            r"\b(?:is|are|was|at|of|to|by|on|for|with|from|than|about) ,|\b(?:is|are|was|at|of|to|by|on|for|with|from|than|about|make|makes|pay|paid|earn|owe|owes|cost|costs|save|the|your|my)"
            r" {2,}(?:a|an|per|percent|dollars|for|and|on|in|of|from|each|every|years|months|days|is|was)\b",
            0,
            "leaves something out",
        ),
        ("␣undefined␣", r"\b(?:[Tt]he|[Yy]our|[Mm]y|an?|[Tt]his|[Oo]f|[Aa]bout|[Oo]n|[Ff]or) undefined (?:was|is|has|will|of|in|on|and|for|that|to)\b", 0, "is a value that was missing"),
        ("␣none␣a␣ ␣none␣per␣ ␣none␣for␣ ␣none␣in␣ ␣none␣to␣ ␣none␣and␣ ␣none␣on␣ ␣none, ␣none.", r"None(?<=[a-z,] None)(?<!says None)(?<!shows None)(?<!reads None)(?<!said None) (?:a|per|for|in|to|and|on) ", 0, "is a value that was missing"),
        ("anytown anywhere,", r"\bAny(?:town|where), (?:USA|US|[A-Z]{2})\b", 0, "stands for a place"),
        ("john␣doe jane␣doe joe␣doe john␣q. jane␣q. john␣public joe␣bloggs mr.␣sample mrs.␣sample", r"\b(?:John|Jane|Joe) (?:Q\. )?(?:Doe|Public|Sample|Bloggs)\b|\bMrs?\. Sample\b", 0, "stands for a name"),
        ("dd/mm mm/dd dd-mm mm-dd dd.mm yyyy hh:mm", r"\b(?:DD|MM)[/.-](?:DD|MM)\b|\bYYYY\b|\b(?:HH:MM|hh:mm)\b", 0, "stands for a date"),
        ("␣foo␣ foobar acme ⏎foo␣ example␣corp", r"\b(?:[Ff]oo|[Ff]oobar|Acme|ACME|Example Corp)\b", 0, "stands for a name"),
        ("customer␣name client␣name dear␣name", r"\b(?:Valued Customer|Dear Customer|Dear Client|Dear) Name\b", 0, "stands for a name"),
        ("?, $0,000 €0,000 00000", r"\?+,(?:\?{2,}|\d{3})|[$€£]0,000\b|00000(?<![\w,.-].{5})(?![\w-])", 0, "stands for a figure"),
        ("(name (first␣name (last␣name (full␣name (date (amount (city (company (employer (number (percentage (waiting␣period (figure (rate (age (occupation", r"\((?:first |last |full )?(?:names?|date|amount|city|company|employer|number|percentage|waiting period|figure|rate|age|occupation)\)", re.IGNORECASE, "is a placeholder"),
        ("tk␣p tk␣d tk␣m tk␣y", r"(?i)\btk (?:percent|dollars|days|months|years)\b", 0, "is a placeholder"),
        ("*insert *your *name", r"\*(?:insert|your|name)\b[^*\n]{0,30}\*", re.IGNORECASE, "is a placeholder"),
        ("lorem dolor", r"(?i)\blorem\s+ipsum|\bdolor sit amet\b|\bconsectetur adipiscing", 0, "is filler text"),
        ("todo fixme tbd tba ␣tk ⏎tk [tk $tk", r"\b(?:TODO|FIXME)\b(?!\s+(?:list|app|item))|\bTBD\s*[:\]})]|[\[({<]\s*TB[DA]\b|[$€£]\s?TB[DA]\b|\bTB[DA]\s*(?:%|(?:percent|dollars|days|months|years)\b)|\bTK(?:TK)*\s*[:\]})%]|[$€£]\s?TK\b", 0, "is a note to fill in something"),
        ("undefined null ,␣none hi␣none hello␣none dear␣none hey␣none thanks␣none you␣none $none none␣percent none␣dollars none␣days none% nan [object #ref #n/a #value #name #div #null", r"(?i:(?:dear|hi|hello|hey|thanks|thank you|welcome|mr\.?|mrs\.?|ms\.?),?\s+)(?:[Nn]ull|None|undefined|NaN|NULL)\b|[$€£]\s?(?:[Nn]ull|None|undefined|NaN|NULL)\b|(?<![\w])NaN(?!\w)|\[object Object\]|\b(?:null|undefined)\s?(?:%|(?:percent|dollars|days|weeks|months|years)\b)|\bNone\s?(?:%|percent\b|dollars\b|days\b|weeks\b|months\b|years\b)|#(?:REF|N/A|VALUE|NAME|DIV/0|NULL)[!?]?", 0, "is a value that was missing"),
        ("dear␣, hi␣, hello␣, hey␣, morning␣, evening␣, mr.␣, mrs.␣, ms.␣, mr␣, mrs␣, mr., mrs., ms.,", r"(?i)(?:^|[.!?]\s+)(?:dear|hi|hello|hey|good morning|good evening)\s+,|\b(?:mr|mrs|ms)\.?\s+,|\b(?:mr|mrs|ms)\.,", 0, "leaves out a name"),
        ("$␣ $, $. $; $! $?", r"[$€£]\s?(?=[,.;!?](?:\s|$)|\s+(?:a|an|per|each|every|in|on|of|and|to|from|is|for|by|until)\s)", 0, "leaves out an amount"),
        ("placeholder sample␣text sample␣resp sample␣answ dummy␣ template␣text template␣resp template␣answ", r"(?i)[\[({<*]\s*placeholder\b|\bplaceholder\s*(?:text|name|value|amount|\d+)|\b(?:sample|dummy|template) (?:text|response|answer) (?:here|goes|to be)|^\W*(?:placeholder|sample text|dummy text)\W*$", 0, "is a placeholder"),
        (" ".join(f"{noun}␣{end}" for noun in ("company", "product", "fund", "bank", "client", "customer", "person", "employer", "brand", "item", "device") for end in ("x", "y", "z", "a/b", "abc")) + " xyz abc␣", r"\b(?:Company|Product|Fund|Bank|Client|Customer|Person|Employer|Brand|Item|Device) (?:[XYZ]|XYZ|ABC|A/B)\b|\b(?:XYZ|ABC) (?:Company|Corp(?:oration)?|Inc|Bank|Fund|Ltd|LLC)\b", 0, "stands for a name"),
    )
)  # fmt: skip


_GUILLEMETS = re.compile(r"«[\w '’]{1,40}»")
"""Marks of a field in English; in other languages they are quotation marks."""


_TOLD = re.compile(
    r"\b(?:sa(?:ys?|id|ying)|reads?|shows?|showed|print(?:s|ed)|stamped|wr(?:ote|itten)|marked|label(?:l?ed)?|forms?|letter|box|field|line|page|mail|e-?mail|screen|"
    r"button|receipt|sign|sticker|heading|subject|contract|invoice|statement|starts?|begins?)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|(?<![^\s(:])['‘][^'’\n]{1,80}['’](?!\w)")
_MENTIONED = re.compile(
    r"\b(?:format|template|variable|script|mail merge|formula|array|homework|error|press|keys?|rated|legal name|home ?page|can't (?:read|make out)|illegible|file names?|on purpose|left (?:it|them) (?:blank|empty|open)"
    r"|left it for|without saying|is empty|prints nothing|in the (?:subject|search)|(?:write|enter|type) (?:it|the date|dates) as|X and (?:\w+ )?Y)\b",
    re.IGNORECASE,
)
"""Words of a sentence that talks of a blank, a key or a notation: "The date format is MM/DD"."""

_STAMPED = re.compile(r"\b(?:stamped|wrote|written|marked|says?|said|reads?) (?:a |the |with |it )?$", re.IGNORECASE)


def _is_quoted(match: re.Match[str]) -> bool:
    """Whether somebody tells what stands on a form or in a letter: in quotation marks, after a word for it."""
    text, start, end = match.string, match.start(), match.end()
    sentence = text[_find_end(text, start, -1) : _find_end(text, end, 1)]
    return (
        bool(_MENTIONED.search(sentence))
        or bool(_STAMPED.search(text, max(0, start - 20), start))
        or any(
            one.start() < start and end <= one.end() and _TOLD.search(text, max(0, one.start() - 80), one.start())
            for one in _QUOTED.finditer(text)
        )
    )


def _find_end(text: str, place: int, step: Literal[-1, 1]) -> int:
    """Where the sentence begins or ends that holds a place of a text."""
    if step < 0:
        return max(text.rfind(mark, 0, place) for mark in ("\n", ". ", "! ", "? ")) + 1
    return min((found for mark in ("\n", ". ", "! ", "? ") if (found := text.find(mark, place)) >= 0), default=len(text))


def _find_guillemets(turn: Turn) -> tuple[str, str] | None:
    return (found[0], "is a placeholder") if (found := _GUILLEMETS.search(turn.content)) else None


@scorer("placeholders", version=3)
def placeholders(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drops a conversation in which something was to be filled in, and was not."""
    found = _PATTERNS.judge(conversation, _is_quoted)
    if found.verdict == "keep" and "«" in join_turns(conversation):
        return judge_turns(conversation, lambda turn: _find_guillemets(turn) if context.language_of(turn.role) == "en" else None)
    return found
