"""A last turn that breaks off: in a word, after a comma, before a list that never comes."""

from __future__ import annotations

import re

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import reject_turn

_WITHOUT_FULL_STOPS = frozenset("th lo km my bo".split())

_ENDS = ".!?…。！？।؟۔｡"
_CLOSERS = "\"'”’»›)]）」』】*_`~ \n\t"

_GOES_ON = frozenset(
    # what a sentence does not end with, even where people leave out the full stop
    "a an the this these those my your our their its every each no some any another both either neither such own same other "
    "and or but nor so because although though unless until till while whereas whether if when whenever where wherever which who whom whose what "
    "that than as how why of to in on at by for with from into onto over under between among through during without within against toward "
    "towards upon per about around above below behind beside beyond near since before after despite except including versus via like plus minus "
    "is are was were be been being am has have had do does did will would shall should can could may might must ought isn't aren't wasn't "
    "doesn't don't didn't won't wouldn't can't couldn't shouldn't needn't haven't hasn't i you he she we they i'm i'd i'll i've you're you'd you'll you've he's "
    "she's it's we're we'd we'll we've they're they'd they'll they've that's there's what's let's not very really quite rather too only just also even "
    "more less most least almost nearly always never often usually put take make get keep ask call check send give tell set let open move pay use "
    "buy sell bring say want need e.g i.e mr mrs ms dr vs approx namely jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_OPENS = frozenset("a an the my your our their every and or nor because although unless whereas whether if than very".split())
"""Those of them that nobody ends with, however they write: "who do i ask" is a whole question."""

_CALENDAR = tuple(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october november december".split()
)
_NEVER_LAST = re.compile(
    r"(?:^|[\s(\"'“])(?:the|an?|and|or|nor|because|although|unless|whereas|whether|your|my|our|their|very|than|every|if|e\.g|i\.e|vs|mr|mrs|ms|dr|such as|"
    r"for example|for instance|including|of the|to the)\s*[.!?…]+$",
    re.IGNORECASE,
)
_LAST_BUT_NEVER = frozenset(
    "the a an and or nor because although unless whereas whether your my our their very than every if e.g i.e vs mr mrs ms dr as example instance including to".split()
)
"""The last words that `_NEVER_LAST` looks for."""

_STARTS_A_LIST = re.compile(
    r"(?:^|[.!?:;]\s+|\n\s*)(?:\(?\d{1,2}[.)]|[-•*]|(?:first|second|third|fourth|fifth|next|then|finally|also|however|step \w+)[,:]?)$"
    r"|(?:^|[.!?]\s+)as for [^,.]+\.$",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(
    r"(?:let me (?:just |first )?(?!know\b)(?:do|check|look|run|calculate|explain|walk|pull)\b[^.!?\n]*"
    r"|(?:and )?(?:one|two|three|a) (?:last|more|final|other|quick|things?)\b(?: things?\b| points?\b)?(?: before you \w+| to \w+)?|whereas\b[^!?\n]*|(?:so |and )?here(?:['’]s| is| are) (?:the|what|how|a|your|my)\b[^.!?\n]*"
    r"|i(?:['’]ll| will) (?:explain|list|walk you|get to|come to)\b[^.!?\n]*|(?:there are|you have|i see) (?:two|three|four|five|several|a few) "
    r"(?:ways|options|things|steps|reasons|questions|points|possibilities|choices)\b[^,;:.]*"
    r"|(?:if|when|because|although|while|unless|once|as soon as|even though)\b(?![^.!?]*\b(?:write|call|tell|ask|send|put|pay|go|leave|keep|wait|say|let|use|take|stop|start|quote|mention|come|try|then|that's|it's "
    r"(?:fine|covered|ours)|(?:you|we|it|they|i|he|she)'(?:ll|d)|will|would)\b)(?:\s+[^\s,.!?]+){8,})[.:]$"
    r"|either (?:you|we|they|he|she|it)\b(?!.*\bor\b)[^.!?]*\.$"
)
_ANNOUNCES_ALL_THE_SAME = re.compile(
    r"(?:^|:\s+|\b(?:there are|you have|i have|i see|i need|depends on|comes down to|for|leaves you with) )(?:two|three|four|five|a few|several|some)"
    r" (?:\w+ )?(?:ways|options|things|steps|reasons|questions|points|choices|tips|numbers|factors|conditions)\b(?! (?:is|are|have|were|will|can|at|in|on|left|today)\b)[^,;:.]*\."
    r"|(?:^|[:,]\s+)here's why[.:]$|\blet's (?:do the math|run the numbers|break (?:it|this|that) down|go through (?:it|this|that|them)(?: step by step| one by one| together)?)[.:]$"
    r"|\bmy (?:suggestion|advice|answer|idea|plan|proposal|rule) is (?:this|simple)[.:]$"
    r"|\b(?:as follows|the following|like this|see below|to be continued)\s*[.:]$|\bbetween [$€£]?\d(?![^.!?]*\band\b)[^.!?]*\.$"
)
"""The last sentence announces what does not come, or is the half of one."""

_ANNOUNCING = tuple(
    "let me|either |and |one|two|three|a |whereas|so |here|i'll|i’ll|i will|there are|you have|i see|if|when|because|although|while|unless|once|as |even ".split(
        "|"
    )
)
_ANNOUNCED = (
    "as follows",
    "the following",
    "like this",
    "see below",
    "to be continued",
    "between ",
    "let's ",
    "here's ",
    " is this",
    " is simple",
    *map("{} ".format, ("two", "three", "four", "five", "few", "several", "some")),
)
"""How a last sentence begins that `_ANNOUNCES` finds, and what it holds for `_ANNOUNCES_ALL_THE_SAME`: half of the turns have neither."""

_HALF = re.compile(
    r"\bstep (?:1|one)\b(?!.*\bstep (?:2|two)\b)|\bfirstly\b(?!.*\bsecond)|\bon the one hand\b(?!.*\bother\b)|\bnot only\b(?!.*\b(?:but|also|as well|too)\b)|\b(?:three|four|five) (?:\w+ )?(?:ways|options|things|steps|reasons|points|choices)\b.*\bfirst\b.*(?:[.!?]\s+(?:the )?|\bthe )second(?:,| is| would| one is)(?!.*\b(?:third|last(?:ly)?|finally|other|then)\b)"
    r"|\b(?:two|three|four|five)\b(?:[^.!?]*[.:]\s[^.!?]*\b(?:the )?first\b(?: \w+)?| (?:\w+ )?(?:things|ways|options|steps|reasons|points|choices|papers|questions|numbers)[.:]\sone) is\b"
    r"(?!.*\b(?:second|other|another|then|next|third|the last|lastly)\b)",
    re.IGNORECASE | re.DOTALL,
)
_TRAILS_OFF = re.compile(r"\w\s?(?:\.{2,}|…|—|–|--)$")
_CUT_NUMBER = re.compile(
    r"[$€£][\d,]*,\d{0,2}$|(?:about|around|roughly|nearly|almost|over|under) [$€£]\d$|[$€£]$|\d[,.]$|\d business$|\bbetween [$€£]?\d[\d,.]*$|\bwww$|\bstep (?:\w+)$"
)
_EMOTICON = re.compile(r"\s(?:[:;=8][-'’]?[()DPp3/|]+|<3)$")
"""Ends a text as a full stop does."""

_LONE_LETTER = re.compile(r"\s[b-hj-tvwz]$")
_ONE_WORD = re.compile(r"[.!?…][\"'”’)]?\s+[A-Za-z']+$")
_MARK = re.compile(r"[.!?…:;,]")
_FEW_WORDS = 5
"""Words of a turn that may well be all that somebody says, if no mark is in it."""

_GREETINGS = frozenset("thanks bye cheers goodbye sorry welcome ok okay yes no please".split())
_COMPLETE = frozenset(
    "it them him her me us today tonight tomorrow yesterday now then later again well here there fine enough soon done instead anyway yet week weeks "
    "month months year years day days time night morning noon afternoon evening weekend lol ok okay yes no thanks way lot home yourself all everything "
    "nothing anything something one two three ten twice once together already first last away off out up down back".split()
)
"""Lower-case words after which a sentence may well be over."""


_RELATIVE = re.compile(
    r"\b(?:what|who|where|which|how|the (?:ones?|things?|kind|sort|person|people|place))\b(?:\s+[\w'’]+){1,5}\s+(?:for|to|with|about|of|in|on|at|from|like|over)$",
    re.IGNORECASE,
)
"""What may end with a preposition: "It's what you came for", "the one you're looking for"."""

_LEADS_ON = frozenset("from into onto by during toward towards per via except despite".split())
_ASKS = frozenset("what who whom where which how one ones anything anyone someone something nothing nobody".split())
"""After these, a turn may end with a preposition of `_LEADS_ON`, however it is written."""

_UNFINISHED = (
    " and then",
    ", yet",
    " but then",
    " or else",
    " is to",
    " was to",
    " so that",
    " doesn't",
    " didn't",
    " isn't",
    " won't",
    " and tell",
    " to tell",
    " if it",
    " if nothing",
    ", then",
    " if i",
    " if you",
)
"""How nobody ends a turn, unless with a mark after it."""

_COMPLETE_ALL_THE_SAME = (
    "you like",
    "you want",
    "you need",
    "you say",
    "I say",
    "you are",
    "it is",
    "I am",
    "you do",
    "you have",
    "they are",
)


_SUBJECT = r"(?:i|you|he|she|it|we|they|that|this|there|mine|yours|most)"
_NOT = r"(?:(?:is|are|was|were|have|has|had|do|does|did|would|should|could|need|must|wo|ca)n't|(?:am|is|are|was|were|have|has|did|does|do|can|will) not|cannot)"
_AUXILIARY = rf"(?:{_NOT}|am|is|are|was|were|have|has|had|do|does|did|will|would|can|could|should|might)"
_ANSWERS = re.compile(
    rf"(?:^|[.!?\u2026:,;\n\u2013\u2014-]\s*)(?:\w+,? )?(?:yes|yeah|yep|no|nope|nah|sure|right|true|of course|indeed),? (?:and |but |then |so |\w+ly )?{_SUBJECT} {_AUXILIARY}$"
    rf"|^(?:(?:well|oh|ok|okay|ha|haha|lol|hm|hmm|and|but|so|sorry|actually),? )*{_SUBJECT} {_AUXILIARY}$|\bbut {_SUBJECT} {_NOT}$"
    rf"|\b(?:say|says|said|think|thinks|thought|hope|guess|suppose|believe|bet|afraid|glad|sorry|sure) (?:that )?{_SUBJECT} (?:{_NOT}|is|are|was|were|do|does|did|can|will)$"
    r"|\b(?:of|for|to|with|from|about|between|without|like|on|at) you$|\bas is$|\b(?:ok|okay|sure|yes|i|we) will do$|^will do$"
    r"|\b(?:no|nope|never|always|yes|i|we|they|he|she),? (?:never|always) (?:have|has|did|do|does|was|were|will|would|could|can|am)$"
    r"|\b(?:think|hope|guess|suppose|believe|afraid|say|says|said|if|why|course|probably|certainly|definitely|maybe|perhaps|absolutely|apparently|hopefully|not|or|still|even) (?:so|not|really|quite|only)$"
    r"|\b(?:me|you|him|her|us|them|i|it|that|we) (?:too|neither|either|also)$"
    rf"|\b(?:so|neither|nor) {_AUXILIARY} {_SUBJECT}$"
    r"|[,–—-] ?(?:always|never|really|usually|often)$|\b(?:a|one|single) \w+ (?:more|less)$"
    r"|\b(?:i'm|you're|we're|they're|he's|she's|it's|that's) (?:\w+ly |almost |all )?(?:through|over|off|on|near)$"
    r"|\b(?:no|any|once|some|much|is|and|even|one|like) more$|\bmore or less$|\b(?:or the|each|every) other$"
    r"|\b(?:nothing|something|anything|somebody|someone|anyone|nobody|all|everything|who|wait) (?:\w+ ){0,3}?to (?:be )?\w+(?: (?:about|to|with|for|on|in|of))?$"
    r"|\b(?:none|nothing|anything|not|all|everything|that's all|whatever|anyone|nobody) (?:that )?(?:i|we|you|they) (?:\w+ )?\w+(?: of| about| for| with)?$"
    r"|\b(?:i'll|i can|wish i|as i|i'll be sure to|if i) (?:ask|call|pay|could|say|said|said before)$"
    r"|^(?:so |and |but |ok(?:ay)?,? )?(?:what|where|who|how|why|when|which)(?:'s|'re| (?:is|are|do|does|did|should|can|could|would|will|was|were))(?: [\w']+){1,5}(?<! is)(?<! are)(?<! was)(?<! the)(?<! a)$"
    r"|\b(?:if|when|unless|as|\w+n't|not) .{0,12}\b(?:want|need|have|like|care|plan|mean) to$"
    r"|^(?:have (?:an?|fun)|enjoy|take care|good luck|safe travels|see you|talk (?:soon|to you)|thank(?:s| you)|all the best|best of luck|happy|give)\b(?: [\w']+){0,5}(?<! the)(?<! a)(?<! to)(?<! and)(?<! of)(?<! for)(?<! your)$"
)
"""What is whole although it ends with a word that sentences seldom end with: "No, it doesn't", "I think she can", "the two of you"."""


@scorer("broken_ends", version=6)
def broken_ends(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drops a conversation whose last turn breaks off, or the other speaker's last turn in the middle of a sentence."""
    turns = conversation.turns
    if not turns or context.language_of(turns[-1].role) in _WITHOUT_FULL_STOPS:
        return KEEP
    fault, number = _find_fault(turns[-1].content), len(turns)
    if not fault and len(turns) > 2 and _stops_short(turns[-2].content):
        fault, number = "breaks off in a sentence", len(turns) - 1
    return (
        reject_turn("drop", number, turns[number - 1], "…" + turns[number - 1].content.rstrip()[-30:], fault) if fault else KEEP
    )


def _find_fault(content: str) -> str:
    text = _EMOTICON.sub(".", content.rstrip())
    core = text.rstrip(_CLOSERS).replace("’", "'")
    if not core:
        return ""
    closed = core[-1] in _ENDS
    whole = closed or core.endswith(_COMPLETE_ALL_THE_SAME) or bool(_RELATIVE.search(core[-60:])) or _answers(core)
    if (closed and _read_last_word(core.rstrip(_ENDS)) in _LAST_BUT_NEVER and _NEVER_LAST.search(core[-40:])) or (
        _read_last_word(core) in _GOES_ON and not whole
    ):
        return "breaks off in a sentence"
    perhaps = not closed or core[-2:-1].isdigit() or "as for " in core[-80:].lower()
    if perhaps and _STARTS_A_LIST.search(core[-80:]):
        return "breaks off in a list"
    last = text[max([text.rfind(mark, 0, -3) for mark in ".!?…\n"]) + 1 :].lstrip().lower()
    announces = last.endswith((".", ":")) and (
        (last.startswith(_ANNOUNCING) and _ANNOUNCES.match(last))
        or (any(map(last.__contains__, _ANNOUNCED)) and _ANNOUNCES_ALL_THE_SAME.search(last))
    )
    if announces or (
        any(word in text.lower() for word in ("one hand", "only", "first", "step ", " one is ")) and _HALF.search(text)
    ):
        return "breaks off before what it announces"
    if text.endswith(("[...]", "[…]")) or _TRAILS_OFF.search(core[-6:]):
        return "trails off"
    if _is_open(text) or text.count("```") % 2:
        return "breaks off in a quotation or in brackets"
    if closed:
        return ""
    if not whole and core.lower().endswith(_UNFINISHED):
        return "breaks off in a sentence"
    return (
        "has no end"
        if core[-1] in ",;:-–—(/&+=<[{“‘«$€£" or _CUT_NUMBER.search(core[-20:]) or (_ends_in_a_word(core) and not whole)
        else ""
    )


def _answers(text: str) -> bool:
    """Whether a text ends as an answer may: "No, it doesn't"."""
    last = re.split(r"[.!?…\n]", text[-80:])[-1].replace("’", "'").strip().lower()
    return bool(_ANSWERS.search(last))


def _stops_short(text: str) -> bool:
    """Whether a text ends where no sentence does, however it is written."""
    lowered = text.lower().replace("’", "'")
    return (
        (last := _read_last_word(text)) in _OPENS
        or (last in _LEADS_ON and _ASKS.isdisjoint(re.split(r"[.!?…\n]", lowered[-120:])[-1].split()))
        or (lowered.endswith(_UNFINISHED) and not _answers(text))
        or (bool(_LONE_LETTER.search(text)) and text.count(" ") >= _FEW_WORDS)
        or text.endswith((" supposed to", " going to", " able to", " trying to"))
    )


def _read_last_word(text: str) -> str:
    """The last word in lower case, with what is attached to its end."""
    last = text[-24:].rsplit(None, 1)[-1:] if text else []
    return last[0].lstrip("\"'“‘(").replace("’", "'").lower() if last else ""


def _ends_in_a_word(text: str) -> bool:
    """Whether the last word, without a mark after it, is one that seldom ends a sentence: a name, a number or `_COMPLETE` may."""
    if text.count(" ") < _FEW_WORDS and not _MARK.search(text):  # "Sounds like a plan"
        return False
    last = re.split(r"[\s\-–—/]", text)[-1].lstrip("\"'“‘(")
    lowered = last.lower()
    if not last.isalpha():
        return False
    if _ONE_WORD.search(text) and lowered not in _GREETINGS:
        return True
    if last.islower():
        return last not in _COMPLETE
    return len(last) < 2 or any(day != lowered and day.startswith(lowered) for day in _CALENDAR)


def _is_open(text: str) -> bool:
    """Whether a quotation mark or a bracket was never closed."""
    if text.count("“") > text.count("”") or text.count("(") > text.count(")"):
        return True
    if text.count('"') % 2 and not re.search(r"\d\"", text):
        return True
    if "'" not in text and "‘" not in text:
        return False
    return len(re.findall(r"(?:^|[\s(:])['‘](?=[^\W\d])", text)) > len(re.findall(r"['’](?=[\s.,!?;:)]|$)", text))
