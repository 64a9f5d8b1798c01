"""Personal data: addresses, numbers and accounts by which a person could be reached, paid or taken for another.

Found by their form and their check digits. Names of people are not looked for: that needs a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.personal_numbers import RESOLVERS, find_account, find_card, find_ip_address, find_phone
from convoforge.scoring.filters.spoken import FEWEST_SPOKEN, SPOKEN, has_spoken_digits, write_digits, write_signs
from convoforge.scoring.patterns import add_needles, find_needles, list_hits
from convoforge.scoring.text import join_plain

_DOMAIN_END = (
    r"(?:com|net|org|info|biz|io|co|me|app|dev|pro|top|xyz|site|shop|store|online|club|live|link|page|news|gov|edu|mil|eu|uk|us|ca|de|at|ch|fr"
    r"|it|es|nl|be|pl|pt|se|no|dk|fi|ie|cz|ro|hu|gr|ru|tr|in|cn|jp|kr|br|mx|ar|au|nz|za|ph|sg|hk|ly|gg|tv|cc|ai|example|test|invalid)"
)
_AT = r"(?:\s?@\s?|\s?[(\[{<]\s?at\s?[)\]}>]\s?|\s+at\s+)"
_DOT = r"(?:\s?\.\s?|\s?[(\[{<]\s?(?:dot|\.)\s?[)\]}>]\s?|\s+dot\s+)"
_SPOKEN_DOT = r"(?:\s?[(\[{<]\s?(?:dot|\.)\s?[)\]}>]\s?|\s+dot\s+)"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_WORD_DIGIT = (
    r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
)
_SPOKEN_DIGITS = rf"(?:{_WORD_DIGIT}|\d{{2,4}})"


_LOCAL = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8", "240.0.0.0/4", "fc00::/7"))
)


@dataclass(frozen=True, slots=True)
class PersonalDatum:
    """What was found in a text: its kind, and where it begins and ends."""

    kind: str
    start: int
    end: int


def _digits(found: str) -> str:
    return re.sub(r"\D", "", found)


def _is_card(found: str) -> bool:
    digits = [int(digit) for digit in reversed(_digits(found))]
    total = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return 13 <= len(digits) <= 19 and total % 10 == 0 and len(set(digits)) > 1


def _is_iban(found: str) -> bool:
    packed = re.sub(r"[\s-]", "", re.sub(r"(?:\s[A-Za-z]{1,4})+$", "", found)).upper()  # "on", "and": words that follow it
    return 15 <= len(packed) <= 34 and int("".join(str(int(sign, 36)) for sign in packed[4:] + packed[:4])) % 97 == 1


def _is_public(found: str) -> bool:
    try:
        address = ip_address(found)
    except ValueError:
        return False
    # the ranges for documentation are what made-up conversations write for public addresses
    reserved = address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local
    return (
        found not in RESOLVERS
        and not reserved
        and (address.is_global or not any(address in network for network in _LOCAL if network.version == address.version))
    )


def _is_ssn(found: str) -> bool:
    area, group, serial = (digits := _digits(found))[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_any(_: str) -> bool:
    return True


_FORMS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "an e-mail address": (
        rf"(?<![\w.])[\w.+%-]{{1,64}}@[\w-]+(?:\.[\w-]+)+|(?<![\w.])[\w+-]{{1,64}}(?:{_DOT}[\w+-]+)?{_AT}[\w-]+(?:{_DOT}[\w-]+)?{_SPOKEN_DOT}{_DOMAIN_END}\b"
        rf"|(?<![\w.+-])[\w.+-]{{1,64}}(?:\s?@\s?|\s?[(\[{{<]at[)\]}}>]\s?)[\w-]+{_DOT}{_DOMAIN_END}\b|(?<![\w-])[\w-]{{1,64}} at [\w-]+(?: \. |, dot ){_DOMAIN_END}\b"
        r"|\b(?:at sign|curly a)\b.{0,40}\b(?:com|net|org|me|mail|outlook|proton)\b",
        _is_any,
    ),
    "a web address": (
        rf"\bh(?:tt|xx)ps?:\S+|\bwww\.\S+|\bdouble-u double-u\b|(?<![\w.-])[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{0,8}}\.{_DOMAIN_END}/\w+"
        rf"|(?<![\w-])[\w-]{{3,63}}{_SPOKEN_DOT}{_DOMAIN_END}\s+(?:slash|dash)\b|(?<![\w-])[\w-]{{1,63}}\[\.\]\w+|(?<![\w.-])(?:[\w-]{{2,63}}\.){{2,5}}(?:com|org|net|gov|edu)\b",
        _is_any,
    ),
    "an IBAN": (r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,8}(?:[ -]?[A-Za-z0-9]{1,3})?\b", _is_iban),
    "a card number": (r"(?<![\d.-])\d(?:[ .-]?\d){12,18}(?![\d-])", _is_card),
    "a social security number": (
        r"(?<![\d-])\d{3}[-. ]\d{2}[-. ]\d{4}(?![\d-])|\b(?:ssn|social(?: security)?|tax id|taxpayer)\b[^.\d]{0,40}\d{3}[- ]?\d{2}[- ]?\d{4}\b|\b\d{9}\b(?=[^.\d]{0,20}\b(?:social|ssn|tax id))",
        lambda found: _is_ssn(_digits(found)[-9:]),
    ),
    "an IP address": (
        r"(?<![\d.])(?<!version )(?<!firmware )(?!\d\.\d\.)\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)|(?<![\w:])[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])",
        _is_public,
    ),
    "a phone number": (
        r"\+\d[\d\s()./-]{7,20}\d|\(\d{3}\)\s?\d{3}[-. ]\d{4}\b|(?<![\d$.,-])(?:1[-. ])?[2-9]\d\d([-. ])[2-9]\d\d\1\d{4}(?![\d-])"
        r"|\b1[- ]8\d\d[- ][A-Z\d]{3}[- ]?[A-Z\d]{4}\b|(?<![\d$.,-])(?<!\d )0\d{2,4}[ /-]\d{3}[ -]?\d{3,5}\b|(?<!\d)0\d(?:[. ]\d\d){4}\b(?! ?\d| and \d)|\b555-\d{4}\b|(?i:\barea code \d{3}\b)|(?<![\d$#.,-])[2-9]\d\d[2-9]\d{6}(?![\d.,]\d|\d)"
        r"|(?<!\d)0\d{2} \d{4} \d{4}\b|(?<!\d )\b00\d\d(?: ?\d){7,11}\b|(?<![\d$])\d\d \d\d \d{4} \d{4}(?! ?\d)"
        rf"|\b(?:call|ring|reach|text|phone|number(?:'s| is)|mobile|cell|whatsapp)\b[^.\d$]{{0,30}}(?<![\d$#])\d{{10}}\b"
        rf"|\b{_WORD_DIGIT}(?:[ ,-]+{_SPOKEN_DIGITS}){{5,}}\b",
        _is_any,
    ),
    "a password": (r"\b(?:password|passcode|pin|pass phrase)(?:'s| is|:) (?=\S*\d)\S{4,}", _is_any),
    "a place on the map": (
        r"-?\b\d{1,2}\.\d{4,},? -?\d{1,3}\.\d{4,}|\b(?:gps|coordinates?|latitude|map)\b[^.\d]{0,20}-?\d{1,2}\.\d{3},? -?\d{1,3}\.\d{3}",
        _is_any,
    ),
    "a medical number": (r"\b(?:MRN|Medicare|NHS|Medicaid|member id)\b[^.\d]{0,15}\d[\w-]{5,}", _is_any),
    "a MAC address": (r"\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b", _is_any),
    "a bank account": (
        r"\b(?:routing|sort code|account)(?: number| no\.?)?(?: is|'s|:)? \d{8,17}\b|\bsort code \d\d-\d\d-\d\d\b",
        _is_any,
    ),
    "a street address": (
        r"\b\d{1,5} (?:[NSEW]\.? )?(?:[A-Z][\w']+ ){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Court|Ct|Boulevard|Blvd|Way|Place|Pl"
        r"|Terrace|Close|Crescent|Parkway|Circle)\b",
        _is_any,
    ),
    "a messenger name": (r"(?<![\w@])@[A-Za-z]\w{3,30}\b(?!\.\w)", _is_any),
    "a date of birth": (
        rf"\b(?:born(?: on)?|birthday(?:'s| is)|date of birth(?:'s| is|:)?|d\.?o\.?b\.?:?) (?:the )?(?:{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
        rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? \d{{4}}|\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{2,4}})",
        _is_any,
    ),
}
_CASED = frozenset({"a street address", "a phone number"})
_COMPILED = {
    kind: (re.compile(form, 0 if kind in _CASED else re.IGNORECASE), is_real) for kind, (form, is_real) in _FORMS.items()
}
_RUN_OF_DIGITS = re.compile(r"\d(?:(?:[ .()/+-]{0,3}\d){6}|\.\d+\.\d|-[a-z\d]{3}-?[a-z\d]{4})").search
_STREET = re.compile(r"\d " + _FORMS["a street address"][0].split(" ", 1)[1], re.IGNORECASE).match
_COLONS = re.compile(r":\w*:").search
_ARTICLE = re.compile(r"\b(?:article|catalog|item|part|batch|model|sku|order|lot)\b", re.IGNORECASE)
_MASK = bytes.maketrans(b"123456789", b"000000000")
_BETWEEN_DIGITS = b" .()/+-"


def _mask(plain: str) -> bytes:
    """A byte for each character of a text, `0` for a digit: what cannot match is told from it in a fraction of a pattern's time."""
    return plain.encode("ascii", "replace").translate(_MASK)


def _says_digits(plain: str) -> bool:
    return has_spoken_digits(plain) and any(has_spoken_digits(line) and _SAID_DIGITS.search(line) for line in plain.split("\n"))


def _has_digits(plain: str) -> object:
    masked = _mask(plain)
    perhaps = b"0-" in masked or b"0.0" in masked or b"0000000" in masked.translate(None, _BETWEEN_DIGITS)
    return (perhaps and _RUN_OF_DIGITS(plain)) or (plain.count(":") > 1 and _COLONS(plain))


def _has_street(plain: str) -> bool:
    return any(_STREET(plain, found.start()) for found in re.finditer(b"0 ", _mask(plain)))


_SAID_DIGITS = re.compile(
    r"\b(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)[ ,-]+(?:zero|oh|double|one|two|three|four|five|six|seven|eight|nine|\d\d)"
)
_NEEDLES: Mapping[str, Sequence[str]] = {
    "an e-mail address": ("@", "(at", "[at", "{at", "<at", "( at", " dot", " . ", "at sign", "curly a"),
    "a web address": ("://", "www.", "[.]", " dot", "double-u", "/", ".com", ".org", ".net", ".gov", ".edu"),
    "a password": ("pass", " pin"),
    "a messenger name": ("@",),
    "a date of birth": ("born", "birth", "dob", "d.o.b"),
    "a medical number": ("mrn", "medica", "nhs", "member id"),
    "a phone number": ("555-", "area code"),
}
_TESTS: Mapping[str, Callable[[str], object]] = {
    "a place on the map": re.compile(r"\.\d{3}").search,
    "a street address": _has_street,
    "a phone number": _says_digits,
}
"""What a text in lower case must have before a form is looked for, a needle or what a test finds: most have none of it. Other forms need
seven digits."""

_KINDS_OF: Mapping[str, Sequence[str]] = {
    needle: tuple(kind for kind, needles in _NEEDLES.items() if needle in needles)
    for needle in {needle for needles in _NEEDLES.values() for needle in needles}
}
add_needles((*_KINDS_OF, *SPOKEN))

_NUMBERS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("a phone number", find_phone),
    ("a card number", find_card),
    ("a bank account", find_account),
    ("an IP address", find_ip_address),
)

_WITHOUT_DIGITS = (_NEEDLES.keys() | _TESTS.keys()) - {"a phone number"}  # seven digits say nothing of these


def find_personal_data(text: str, kinds: Iterable[str] = tuple(_COMPILED)) -> Iterator[PersonalDatum]:
    """The personal data of these kinds in a text, kind by kind."""
    plain = text.lower()
    for kind in _list_kinds(plain, kinds):
        form, is_real = _COMPILED[kind]
        for found in form.finditer(text):
            if is_real(found.group()) and not _is_article(text, found):
                yield PersonalDatum(kind, found.start(), found.end())


def _is_article(text: str, found: re.Match[str]) -> bool:
    """Whether seven digits such as 555-0142 are a thing's in a catalog."""
    return len(found[0]) == len("555-0142") and bool(_ARTICLE.search(text, max(0, found.start() - 60), found.end() + 30))


def _list_kinds(plain: str, kinds: Iterable[str]) -> tuple[str, ...]:
    """The kinds that a text in lower case may hold."""
    digits = bool(_has_digits(plain))
    return tuple(
        kind
        for kind in kinds
        if (digits and kind not in _WITHOUT_DIGITS)
        or any(needle in plain for needle in _NEEDLES.get(kind, ()))
        or (kind in _TESTS and _TESTS[kind](plain))
    )


def mask_personal_data(text: str) -> str:
    """The text with the kind of each personal datum in its place; without digits where a number is found that has no form of ours, and
    nothing of it where one stands in words."""
    found = sorted(find_personal_data(text), key=lambda datum: (datum.start, -datum.end))
    parts, at = [], 0
    for datum in found:
        if datum.start >= at:
            parts += [text[at : datum.start], f"[{datum.kind}]"]
        at = max(at, datum.end)
    masked = "".join((*parts, text[at:]))
    if not find_number(masked.lower()):
        return masked
    blank = re.sub(r"\d", "•", masked)
    return "[text with personal data]" if find_number(blank.lower()) else blank


@scorer("pii", version=3)
def pii(conversation: Conversation, context: ScoringContext) -> FilterVerdict:  # noqa: ARG001 - the contract
    """Drop a conversation that holds personal data. The reason names the kind, never the value."""
    text = join_plain(conversation)
    needles = find_needles(conversation)
    hinted = {kind for needle in _KINDS_OF.keys() & needles for kind in _KINDS_OF[needle]}
    spoken = sum([needle in SPOKEN for _, needle in list_hits(conversation)]) >= FEWEST_SPOKEN
    digits = bool(_has_digits(text))  # of all turns at once, as most have none
    kinds = tuple(
        kind
        for kind in _COMPILED
        if kind in hinted
        or (digits and kind not in _WITHOUT_DIGITS)
        or (kind in _TESTS and (kind != "a phone number" or spoken) and _TESTS[kind](text))
    )
    if not kinds and " dot" not in needles:
        return KEEP
    for number, turn in enumerate(conversation.turns, 1):
        if found := next(find_personal_data(turn.content, kinds), None):
            return FilterVerdict("drop", f"turn {number} ({turn.role}): {found.kind} of {found.end - found.start} characters")
        if kind := find_number(turn.content.lower()):
            return FilterVerdict("drop", f"turn {number} ({turn.role}): {kind}, by its digits")
    return KEEP


def find_number(plain: str) -> str | None:
    """The kind of a number in a text in lower case that has no form of ours: one of another country, in pieces, or in words."""
    if _has_digits(plain) or " dot " in plain:
        written = write_signs(plain)
        for kind, find in _NUMBERS:
            if find(written):
                return kind
    if _says_digits(plain):
        spoken = write_digits(plain)
        return next((kind for kind, find in _NUMBERS[:2] if find(spoken)), None)
    return None
