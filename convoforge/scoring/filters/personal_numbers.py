"""Numbers that belong to a person, by their shapes and check digits: phones, cards, bank accounts, IP addresses.

All of them read a text in lower case. An amount, a date, the number of an order or of a form is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_RUN = re.compile(r"(?<![\w$€£¥#@_])(?<!\d[.,:/-])(?:\+ ?)?\(?\d(?:[ .()/\-–]{0,3}\d){6,20}(?![\w%]|[.,:]\d)")
_REFERENCE = re.compile(
    r"\b(?:orders?|tickets?|track(?:ing|ed)?|reference|ref|case|invoice|serial|confirmation|parcels?|model|part|policy|claim|meter|firmware|"
    r"version|rma|sku|upc|ean|gtin|bar ?code|lottery|jackpot|imei|isbn|booking|receipt|batch|lot|item|id|code|number of the (?:order|parcel)|customer|account)(?:'s|\b)"
    r"(?:[ ,:#-]|\b1z\b(?: ?[a-z\d]{2,4}){0,3}|\b(?:number|no|nr|numbers|is|was|are|the|with|says|reads|shows|said|it's|of|on|and|had|has|ticket)\b\.?){0,9}$"
)
_CALL = re.compile(
    r"\b(?:call(?:ed|s|ing)?|phones?|mobile|cell(?:phone)?|reach(?:ed)?|ring|rang|rings|text(?:ed)?|whatsapp|landline|line|dial(?:ed)?|fax|"
    r"voicemail|hot ?line|area code|his number|her number|my number|mine|number's|number is|numero|picks up|ask for|he's on|she's on|he's in|"
    r"extension|telephone|message me|sms|contact)\b"
)
_DATE = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-](?:19|20)?\d\d|(?:19|20)\d\d[/.-]\d{1,2}[/.-]\d{1,2}")
_US_SHAPE = re.compile(r"(?:\+?1[ .-]{0,2})?\(?[2-9]\d\d\)?[ .\-–/]{0,3}[2-9]\d\d[ .\-–]{0,2}\d{2} ?\d{2}")
_LOCAL_SHAPE = re.compile(r"[2-9]\d\d[ .-]\d{4}")
_VANITY = re.compile(r"\b1[ .-]8(?:00|88|77|66|55|44|33)[ .-](?:\w{3}[ .-]?[a-z]{4}|[a-z]{7})\b")
_REGIONS = (
    "US",
    "GB",
    "DE",
    "FR",
    "ES",
    "IT",
    "NL",
    "BE",
    "CH",
    "AT",
    "IE",
    "AU",
    "NZ",
    "IN",
    "PH",
    "BR",
    "MX",
    "JP",
    "ZA",
    "PL",
    "SE",
)

_CARD = re.compile(r"(?<![\w$.])\d(?:[ .\-–]{0,2}\d){12,18}(?!\w|\.\d)")
_ISSUER = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|"
    r"6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}|(?:5[06-8]|6[379])\d{11,17}"
)
_CARD_WORD = re.compile(r"\b(?:cards?|visa|mastercard|amex|discover|digits|debit|starts|begins|first half|goes on)\b")

_IBAN = re.compile(r"\b[a-z]{2} ?\d{2}(?:[ -]?[a-z0-9]{1,4}){3,9}\b")
_ROUTING = re.compile(r"(?<!\d)\d{9}(?!\d)")

_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
RESOLVERS = frozenset(("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220"))
"""Name servers for everybody: they reach nobody."""

_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])")
_VERSION = re.compile(r"\b(?:version|firmware|release|build|update[d]?|v|app|driver|software|section|chapter)\b[^?!;]{0,20}$")
_NETWORK = re.compile(r"\b(?:ip|address|ping(?:s|ed)?|dns|server|connect\w*|log|logs|host|from|traffic|resolver)\b")


def find_phone(plain: str) -> bool:
    """Whether a phone number of any country stands in a text. 555-0100 to 555-0199 belong to nobody."""
    if any(len(one[0].strip()) > 9 for one in _VANITY.finditer(plain)):
        return True
    for run, before in _list_runs(plain, _RUN):
        digits = re.sub(r"\D", "", run)
        if _DATE.fullmatch(run) or _is_fictional(digits):
            continue
        called = bool(_CALL.search(plain))
        if run.startswith("+"):
            if len(digits) >= 8 and _is_phone(f"+{digits}", ""):
                return True
        elif _REFERENCE.search(before):
            continue
        elif _is_local(plain, run, digits, called=called):
            return True
    return False


def _is_local(plain: str, run: str, digits: str, *, called: bool) -> bool:
    """Whether a run without a plus is a phone's: by its grouping, a zero in front, or where the text speaks of calling."""
    if _US_SHAPE.fullmatch(run) and (called or not run.isdigit() or _is_alone(plain, run)) and _is_phone(digits, "US"):
        return True
    if digits.startswith("00") and _is_phone(f"+{digits[2:]}", ""):
        return True
    if (called or digits.startswith("0")) and len(digits) >= 9 and _is_national(digits):
        return True
    return called and (bool(_LOCAL_SHAPE.fullmatch(run)) or (len(digits) >= 11 and _is_phone(f"+{digits}", "")))


def _list_runs(plain: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Each run of digits, and the words before it."""
    for one in pattern.finditer(plain):
        yield one[0], plain[max(0, one.start() - 45) : one.start()]


def _is_alone(plain: str, run: str) -> bool:
    return len(plain) - len(run) < 60


def _is_fictional(digits: str) -> bool:
    """Whether a North American number is one of those that films use."""
    return bool(re.fullmatch(r"1?(?:[2-9]\d\d)?55501\d\d", digits)) or digits in ("18002738255", "8002738255")


def _is_national(digits: str) -> bool:
    regions = _REGIONS if digits.startswith("0") else ("US", "IN", "MX", "ES", "PL")
    return any(_is_phone(digits, region) for region in regions)


@lru_cache(maxsize=256)
def _is_phone(digits: str, region: str) -> bool:
    import phonenumbers  # half of what the filters take to import

    try:
        parsed = phonenumbers.parse(digits, region or None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed) or (not region and len(digits) > 10 and phonenumbers.is_possible_number(parsed))


def find_card(plain: str) -> bool:
    """Whether a card number stands in a text: an issuer's first digits, and the check digit right."""
    for run, before in _list_runs(plain, _CARD):
        if _is_card(re.sub(r"\D", "", run)) and not _REFERENCE.search(before):
            return True
    if not _CARD_WORD.search(plain):
        return False
    pieces = re.findall(r"(?<![\w$])\d+(?!\w)", plain)
    return any(
        _is_card("".join(pieces[start:end]))
        for start in range(len(pieces))
        for end in range(start + 2, min(len(pieces), start + 9) + 1)
    )


def _is_card(digits: str) -> bool:
    if not 13 <= len(digits) <= 19 or not _ISSUER.fullmatch(digits):
        return False
    from stdnum import luhn

    return bool(luhn.is_valid(digits))


def find_account(plain: str) -> bool:
    """Whether a bank account stands in a text: an IBAN, or a routing number of a bank of the United States."""
    from stdnum import iban

    for one in _IBAN.finditer(plain):
        parts = re.split(r"[ -]", one[0])
        for end in range(len(parts), 0, -1):  # the words after it look like parts of it
            if iban.is_valid("".join(parts[:end]), check_country=False):
                return True
    if "routing" in plain:
        from stdnum.us import rtn

        return any(rtn.is_valid(number) for number in _ROUTING.findall(plain))
    return False


def find_ip_address(plain: str) -> bool:
    """Whether an address of the public Internet stands in a text. Four small numbers are a version unless the text speaks of a network."""
    for run, before in _list_runs(plain, _IPV4):
        numbers = [int(part) for part in run.split(".")]
        if max(numbers) > 255 or _VERSION.search(before) or (max(numbers) < 20 and not _NETWORK.search(plain)):
            continue
        if any(len(part) > 1 and part[0] == "0" for part in run.split(".")):
            continue
        if IPv4Address(run).is_global and run not in RESOLVERS:
            return True
    if plain.count(":") < 2:
        return False
    for run in (one[0] for one in _IPV6.finditer(plain)):
        try:
            if len(run) > 6 and IPv6Address(run).is_global:
                return True
        except AddressValueError:
            continue
    return False
