"""Refusals: an assistant that will not do its work, in any of its turns.

A refusal declines the request as such ("I can't help with that", "I'm unable to provide financial advice"), or names rules of its own
as the reason. An honest limit says what is missing, who decides, or which single act it declines, and is kept: "I can't see your
account", "I can't tell you that without the plan's own document", "I won't help to hide it". So a turn that declines in words which no
phrase knows is still a refusal if it has nothing else to offer: no figure, no day, no question, no step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from convoforge.models import Conversation
from convoforge.printable import printable_line
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.grammar import find_phrase
from convoforge.scoring.filters.leaning import read_leaning
from convoforge.scoring.text import ReadTurn, list_words, read_turns

_LONGEST = 110
"""Maximum number of characters of a turn that offers nothing: whoever says more, says something."""

_LONGEST_LEANING = 180
"""The same of a turn that only reads as a refusal: one that goes on, or has a figure, has something to offer."""

_DECLINES = re.compile(
    r"\b(?:i|we|im)(?:\b|')[^.!?]{0,50}?(?:n't|\b(?:not|never|nothing|nobody|cannot|unable|no intention|declin\w+|refus(?:e|ing)(?! to believe)|rather|refrain\w*|withhold|unwilling|"
    r"regret|uneasy|uncomfortable|inappropriate|beyond|outside|against|pass|leave|have to stop|out of|overstepping|elsewhere|silent|choosing|say no|must ask))\b"
    r"|\b(?:this|that|such|requests?|questions?|answering|helping|providing|answer|decision)\b(?![^.!?]*\byou (?:need|have|don't|must|should))[^.!?]{0,40}?(?:n't|\b(?:not|never|no|cannot|"
    r"beyond|inappropriate|unavailable|against|declined|outside|cross a line))\b(?! (?:a |an )?(?:\w+ )?(?:stupid|silly|bad|easy|simple|quick|expensive|sold))"
    r"|^\W*(?:no|nah|sorry|can't|unable|not|kindly refrain|without wanting)\b|\b(?:stays no|no thank you)\b"
    r"|\b(?:it|that)(?:'s| is| was| would)?(?: not|n't)?\b[^.!?]{0,30}\b(?:for me to|of me to|none of my|my (?:job|place) to|(?:our|my) practice not|something (?:that )?(?:i|we) (?:help|talk|do|answer|discuss))\b"
)
_MATTER = re.compile(
    r"\b(?:help\w*|assist\w*|answer\w*|advis\w+|advice|comment\w*|discuss\w*|talk\w*|say(?:ing)?|recommend\w*|suggest\w*|opinions?|views?|thoughts|guidance|"
    r"respond\w*|reply|replies|specifics|details|reasons|this one|that one|topics?|subjects?|matters?|questions?|requests?|queries|inquir\w+|service|remit|unanswered|"
    r"my place|my job|business|engage|involved|influence|part in|weigh|touching|g(?:et|o|oing)(?: further)? (?:there|into|with you)|do that for you|do (?:tax|sums|them)|doing sums|position on|"
    r"problems|plan for that|your (?:budget|debts|plan|taxes)|calculate that|use to you|deal with|tell(?:s|ing)? (?:you|people)|willing|permitted|not going to|that sort of|"
    r"look that up|ask(?:ing)? me|somebody else|someone else|elsewhere|line for me|adviser|no thank|stays no|to pass|think i will|not going to)\b"
)
_SENDS_AWAY = re.compile(
    r"\b(?:ask|find|try|see|consult|contact|speak to|talk to|go to)(?:ed)? (?:[\w-]+ ){0,3}(?:else|another adviser|in person|instead of asking me|who cares)\b|\btake (?:this|that|it|your \w+) elsewhere\b|"
    r"\b(?:do|look|find|figure|work|sort)\b[^.!?]{0,16}\b(?:your own homework|yourself|on your own)\b|\b(?:stop asking|(?:don't|do not|not to) ask me|refrain from asking)\b|\bsettle without me\b|"
    r"\btalk about (?:something|the weather|other)\b|\bthere are (?:websites|better people|others)\b|\bdesk$|\b(?:answer|word|advice|comment|opinion)\b[^.!?]{0,30} from (?:me|this desk)\b|\bturn down your request\b|\bsteer clear of that\b|\bdecline politely\b"
)
_OFFERS = re.compile(
    r"(?:^|[\s,:])'\w|\d|[$€£\"“?%]|\b(?:tell|send|read|show|give|bring|write|write down|let) (?:me|us|them|it|down|him|her|to)\b|\blet's (?!just say|not|talk about)|\b(?<!only )(?:you|i|we|they|he|she) can (?!not)|\byou could\b|"
    r"\byou(?:'ll| will) (?:get|have|hear|see|find it)\b|\bonce (?:i|you|we|the)\b|\b(?:until|unless|without|before|after|as soon as|meanwhile|instead,|till)\b|"
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:tomorrow|tonight|week|month|year|days|hours?|january|march|april|may (?!not|i\b)|june)\b|\bhere's\b|, but (?!i\b|i'm|i've|we|there)|"
    r"\b(?:start|begin) with\b|\btake (?:the|it|both|a)\b|\b(?:put|keep|pay|call|check|open|press|unplug|wait|save|start|look) (?:the|it|your|them|for|at)\b|\bso (?:you|it|the|they|we)\b|\bask (?:the|them|him|her|your)\b(?! bank)|"
    r"\b(?:good luck|agree more|stress|promise|believe|wait to|lie,|guess|sure that|know (?:the|yet|where|enough|how))\b|\bi(?:'ve| have) (?:passed|put|sent|told|credited|noted|moved)\b"
)
"""What a turn has to offer."""

_FIGURE = re.compile(r"[\d$€£\"“%]")
_SIGNS = frozenset(
    (
        "don't can't won't isn't wouldn't aren't couldn't shouldn't doesn't didn't haven't hasn't shan't wasn't not never no nothing nobody cannot unable "
        "decline declining declined refuse refusing rather refrain refraining withhold unwilling regret uneasy uncomfortable inappropriate beyond outside "
        "against pass leave stop out overstepping elsewhere silent choosing unavailable nah sorry kindly without cross else another yourself own asking ask "
        "asked websites people others desk me somebody someone steer politely talk turn settle"
    ).split()
)
"""Words of which a turn that offers nothing has one: spares most turns the patterns."""

_NO_QUESTION = re.compile(
    r"\b(?:honestly|frankly|next question|\w+ questions|can we [^?]*|how (?:was|is) your [^?]*|why don't you [^?]*|(?:anything|what) else[^?]*)\?"
)
"""Questions that lead away from the matter."""


@scorer("refusals", version=4)
def refusals(conversation: Conversation, _context: ScoringContext) -> FilterVerdict:
    """Drop a conversation in which the assistant refuses."""
    if found := find_phrase("refusals", conversation):
        return FilterVerdict("drop", found.reason)
    turns = zip(read_turns(conversation), list_words(conversation), strict=True)
    cold = next((turn for turn, words in turns if turn.role == "assistant" and _offers_nothing(turn, words)), None)
    if cold:
        return FilterVerdict("drop", cold.name_fault(printable_line(cold.plain), "declines, and offers nothing else"))
    leaning = read_leaning("refusals")
    for turn, words in zip(read_turns(conversation), list_words(conversation), strict=True):
        short = turn.role == "assistant" and len(turn.plain) <= _LONGEST_LEANING and not _FIGURE.search(turn.plain)
        if short and (sentence := leaning.find(turn, words)):
            return FilterVerdict("drop", turn.name_fault(printable_line(sentence), "reads as a refusal"))
    return KEEP


def _offers_nothing(turn: ReadTurn, words: Sequence[str]) -> bool:
    """Whether a turn declines, and that is all."""
    if len(turn.plain) > _LONGEST or _SIGNS.isdisjoint(words) or _FIGURE.search(turn.plain):
        return False
    if _OFFERS.search(_NO_QUESTION.sub("", turn.plain)):
        return False
    return any(
        (_DECLINES.search(sentence) and _MATTER.search(sentence)) or _SENDS_AWAY.search(sentence) for sentence in turn.sentences
    )
