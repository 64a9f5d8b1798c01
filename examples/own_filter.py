"""A filter of one's own: no adviser promises a return.

A spec names it by where it lies, here or in a module beside `convoforge.toml`, with an action or without:

    quality: {filters: [default, {"convoforge.examples.own_filter:no_promises": revise}]}

Or by a name, where an installed package registers it. In that package's pyproject.toml:

    [project.entry-points."convoforge.scorers"]
    no-promises = "convoforge.examples.own_filter:no_promises"

A filter is pure: the same conversation gets the same verdict, so it is asked once, and again for free when its version is raised.
"""

from __future__ import annotations

import re

from convoforge.scoring import KEEP, Conversation, FilterVerdict, ScoringContext, scorer

_PROMISE = re.compile(
    r"\b(?:guaranteed?|risk-free|can't lose|cannot lose|will (?:certainly|definitely) (?:rise|double|grow))\b", re.IGNORECASE
)
_DENIED = re.compile(r"\b(?:no|not|never|nobody|isn't|aren't|can't|nothing)\b[^.?!]*$", re.IGNORECASE)


@scorer("no-promises", version=1)
def no_promises(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drop a conversation whose adviser promises a return; "nothing is guaranteed" is no promise."""
    for number, turn in enumerate(conversation.turns, 1):
        if (
            turn.role == "assistant"
            and (found := _PROMISE.search(turn.content))
            and not _DENIED.search(turn.content[: found.start()])
        ):
            return FilterVerdict("drop", f"turn {number} promises '{found[0]}' on {context.topic}")
    return KEEP
