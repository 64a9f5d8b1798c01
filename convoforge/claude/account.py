"""Recognizes errors that say that the account has no credit or allowance left. Then no request can work, whatever the status is.

The API reports this as 402 `billing_error`, but also as 400 `invalid_request_error`, in wording that changes; proxies have
wording of their own. So the text decides: a means of payment (credits, balance, usage limit, …) together with a word for used up.
"""

from __future__ import annotations

import re

_BUDGET = r"(?<!thinking )(?<!token )(?<!tokens )budget"

_SURE = re.compile(
    r"credit balance|\b(?:usage|spend|spending|cost) (?:limit|cap|quota)s?\b|\bhard limit\b|regain access|plans? (?:&|and) billing"
    r"|\b(?:insufficient|purchase|buy|add|out of|no|more|not enough|exhausted|used (?:up )?(?:all )?)(?: \w+){0,2} "
    r"(?:credits?|funds|balance|quota)\b|\b(?:purchase|buy) (?:more )?tokens\b"
    r"|\bcredits? (?:\w+ ){0,3}(?:exhausted|depleted|expired|used(?: up)?|too low|exceeded|required)"
    rf"|\b(?:quota|{_BUDGET})s? (?:\w+ ){{0,3}}(?:exceeded|exhausted|reached|depleted|used up)"
    r"|\bbilling (?:details|page|tab|settings|team|issue|problem|information)"
    rf"|exceed(?:ed|s|ing)?(?: \w+){{0,4}} (?:quota|{_BUDGET})\b|payment (?:is )?required|check your plan\b"
    r"|\b(?:organization|organisation|account|workspace|subscription|key)(?: \w+)? (?:has been|have been|is|was) (?:\w+ )?"
    r"(?:disabled|suspended|deactivated|on hold|terminated|blocked|locked|banned|expired)",
    re.IGNORECASE,
)
"""Phrases that are only used about an account."""

_THING = re.compile(
    rf"\b(?:credits?|balance(?! of)|funds|quota|{_BUDGET}|spend|spending|cost|payments?|invoices?|prepaid|prepayment|usage|allowance"
    r"|subscription|plan|trial|wallet|card|free tier|daily|weekly|monthly|yearly)\b",
    re.IGNORECASE,
)
_USED_UP = re.compile(
    r"\b(?:low|insufficient|not enough|exhausted|reached|exceed\w*|deplet\w*|used|r[au]n out|out of|limits?|caps?|capped|expired|ended|over"
    r"|required|overdue|past due|failed|declined|purchase|buy|top(?:ped)?[- ]?up|recharge|upgrade|suspended|negative|zero|hit|no more"
    r"|no remaining|inactive|unpaid)\b",
    re.IGNORECASE,
)
"""Words that are also used about other things: they count only together with `_THING`, and only for a refusal."""

_FIELD = re.compile(r"(?:messages|system|model|tools|metadata|thinking|temperature|requests|[a-z]+(?:[._][\w\[\]]+)+): ")
"""Start of an API error about a field of the request. The text after it may be quoted from the request."""


def is_about_empty_account(kind: str, message: str, *, refusal: bool) -> bool:
    """Whether an error of this type and text is about the account. `refusal`: its status refuses the request (400, 402, 403 …); a
    failing or overloaded server does not answer with it."""
    text = f"{kind} {message}".replace("_", " ")
    if kind == "billing_error":
        return True
    if _FIELD.match(message):
        return False
    if _SURE.search(text):
        return True
    return refusal and ("billing" in message.lower() or bool(_THING.search(message) and _USED_UP.search(message)))
