"""Turns that say nothing: invisible characters, punctuation alone, "N/A", "[no response]"."""

from __future__ import annotations

import re
import unicodedata

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import reject_turn
from convoforge.scoring.text import FUNCTION_WORDS, list_words, split_words

_BLANK_LETTERS = re.compile("[\u115f\u1160\u17b4\u17b5\u3164\uffa0\u180e\u2800]")
"""Letters and a Braille pattern that show nothing."""

_LONGEST = 80
"""Maximum number of characters of a turn that is looked at: more of them say something."""

_NEVER = frozenset(
    "n/a na n.a null nil nan undefined tbd tba todo idk empty blank void ditto lorem placeholder ... hm hmm hmmm uh uhm um umm er erm "
    "mhm mm mmm meh blah bla asdf test testing x xx xxx none. well so etc".split()
)
"""Turns of these words alone say nothing, whoever speaks."""

_FILLERS = (
    frozenset(
        "no not none nothing without any a an the this is was has been be to left intentionally deliberately response responses reply "
        "replies answer answers content contents text message messages input output turn turns comment data value string entry available "
        "applicable provided given found here yet known unknown unavailable missing deleted removed omitted hidden withheld skipped skip "
        "silence silent pause beat pending waiting awaiting continue continued continues end stop same as above see previous before "
        "determined announced come coming soon loading typing error add say said from user assistant client customer adviser advisor agent null "
        "further more what so ever goes go at point by of does did do answer speak says sent received empty question space page field thing things".split()
    )
    | _NEVER
)
"""Turns of these words alone say nothing between brackets, or where the assistant speaks: "[no response]", "Nothing to add"."""

_SAYS_NOTHING = (
    frozenset(
        "none nothing response responses reply answer content contents text message input output comment data value applicable available "
        "missing deleted removed omitted skipped silence silent pause beat pending loading continued above previous blank empty".split()
    )
    | _NEVER
)

_NOTICES = frozenset(
    "pending unavailable deleted removed missing omitted blank above previous provided continued goes further received typing".split()
)
"""What a notice in place of a message says. A client's "No answer." is one."""

_ANSWERS = re.compile(
    r"\W*(?:tell (?:me|us) (?:what|how|who|where|when|if)|yes|yeah|yep|no|nope|nah|not|neither|both|either|none of|i (?:do|did|don['’]t|didn['’]t|have|haven['’]t|can|can['’]t|will|won['’]t|am|think)(?! nothing)|it (?:was|does|did))\b"
    r"(?!\. hm)",
    re.IGNORECASE,
)
"""How an answer begins that is one without any word of matter."""

_SOUNDS = frozenset(
    "ok okay well so um uh erm huh oh hm hmm yeah i mean you know like right now then ah oh er anyway actually basically just and but yes where were we".split()
)
_HESITATIONS = frozenset("well so um uh hm hmm er mean like anyway basically".split())

_LIGHT = frozenset(
    "right quite indeed see say saying said add stated know knows knew mean means goes go went agreed discussed noted mentioned follow follows usual report reported anyhow "
    "anyway line carry carries carried on whatever tell told field form moving continuing listening thinking wondering".split()
)
"""Verbs that say nothing without an object: "As discussed.", "It is what it is.", "That's what I was going to say."."""

_OTHERS = frozenset(
    part
    for word in "he she they him her them".split()
    for part in (word, f"{word}'s", f"{word}'re", f"{word}'ll", f"{word}'d", f"{word}'ve")
)
"""Who speaks of others says something: "We'll see what she says."."""

_BEGINS = re.compile(r"[A-Za-z]")
_KNOWN = frozenset(
    part
    for words in (FUNCTION_WORDS, _NEVER, _FILLERS, _SOUNDS, _LIGHT, map(chr, range(ord("a"), ord("z") + 1)))
    for word in words
    for part in (word, f"{word}'s", *split_words(word))
)
"""A turn that begins with a letter and has another word than these says something."""

_WORD = re.compile(r"[^\W_]+(?:[/.'’][^\W_]+)*")
_BRACKETED = re.compile(r"\W*?[\[({<*].*[\])}>*]\W*", re.DOTALL)
_ASIDE = re.compile(
    r"\s*(?:\[[^\[\]]*\]|<[^<>]*>|\{[^{}]*\}|\*[^*]*\*|\((?!i\b|me\b|my\b|you\b|yes\b|no,|not\b)[^()\s]+(?:\s[^()\s]+){0,2}\)|\((?:the |no )?(?:client|customer|user|adviser|advisor|agent|assistant)\b[^()]*\))\s*",
    re.IGNORECASE,
)
"""A turn that is an aside from its first character to its last."""


@scorer("empty_turns", version=2)
def empty_turns(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drops a conversation with a turn that says nothing."""
    for number, (turn, words) in enumerate(zip(conversation.turns, list_words(conversation), strict=True), 1):
        text = turn.content
        if (len(text) > _LONGEST and text.isascii()) or (_BEGINS.match(text) and not _KNOWN.issuperset(words)):
            continue
        if found := _find_nothing(turn, context.allow):
            return reject_turn("drop", number, turn, *found)
    return KEEP


def _find_nothing(turn: Turn, allow: frozenset[str]) -> tuple[str, str] | None:
    text = _BLANK_LETTERS.sub("", turn.content)
    if not any(map(str.isalnum, text)):
        if "emoji" in allow and any(unicodedata.category(char) == "So" for char in text):
            return None
        return turn.content, "says nothing: it has no letter and no digit"
    if len(text) > _LONGEST:
        return None
    words = [word.lower().removesuffix("'s") for word in _WORD.findall(text)]
    if (
        all(word in _NEVER for word in words)
        or "".join(words) in _NEVER
        or _ASIDE.fullmatch(text)
        or (turn.role == "assistant" and words == ["0"])
    ):
        return turn.content, "says nothing"
    if len(words) > 2 and all(word in _SOUNDS for word in words) and not _HESITATIONS.isdisjoint(words):
        return turn.content, "says nothing"
    light = _OTHERS.isdisjoint(words) and all(word in FUNCTION_WORDS or word in _LIGHT or word in _FILLERS for word in words)
    told = not _LIGHT.isdisjoint(words) or (turn.role == "assistant" and len(words) > 2)
    if light and told and len(words) < 24 and "?" not in text and not _ANSWERS.match(text):
        return turn.content, "says nothing"
    telling = _NOTICES if turn.role == "user" and not _BRACKETED.fullmatch(text) else _SAYS_NOTHING
    if all(word in _FILLERS for word in words) and words[:2] != ["none", "of"] and not telling.isdisjoint(words):
        return turn.content, "says nothing"
    return None
