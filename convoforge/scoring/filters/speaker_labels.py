"""Labels of speakers, and transcripts, inside a turn: a model trained on them writes both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import PatternSet, list_patterns, reject_turn

_ROLES = frozenset(
    "user client customer assistant adviser advisor agent human ai bot chatbot chatgpt gpt claude llm speaker rep representative csr "
    "operator caller interviewer interviewee moderator narrator respondent questioner persona counselor counsellor consultant helpdesk "
    "benutzer nutzer kunde kundin berater beraterin assistent usuario cliente asesor asesora asistente utilisateur conseiller utente "
    "consulente assistente kunden пользователь клиент ассистент консультант 用户 客户 助手 顾问 ユーザー アシスタント".split()
)
_PERHAPS_ROLES = frozenset(
    "support manager doctor teacher student planner investor coach expert fiduciary saver buyer shopper helper technician specialist "
    "broker banker teller clerk patient therapist mentor tutor host guest participant person desk team staff engineer owner trader "
    "parent solver seller tenant landlord pharmacist receptionist nurse trainer trainee reader writer editor learner borrower lender "
    "employee employer boss colleague mechanic lawyer attorney accountant counsel driver dispatcher passenger traveler traveller cook "
    "chef waiter waitress diner librarian professor lecturer pupil instructor scientist vet veterinarian dentist physician plumber "
    "electrician gardener farmer member visitor subscriber applicant candidate recruiter interviewee witness officer panelist audience "
    "mother father mom dad daughter son wife husband brother sister grandmother grandfather grandma grandpa neighbor neighbour friend voice character roommate renter lodger foreman".split()
)
_PERSON = re.compile(
    r"\w{3,}(?:owner|holder|keeper|giver|taker|sitter|walker|maker|worker|lady|man|woman|person|child|parent)|\w{3,}(?:ician|ologist)"
)
"""A word for somebody, by how it ends."""

_JUDGES = frozenset("best good bad better worst great old new ideal perfect real true nice average typical every".split())
"""What praises or blames: "Good manager: Asks first." compares."""

_PAIRED = frozenset("me you him her he she they them us system model question answer response reply prompt input output".split())
"""Labels where a turn has two of them."""

_FIELDS = frozenset(
    "name number id account service services support since line desk fee fees email address type code error data".split()
)
"""What a form asks for after a role: "Customer Number:"."""

_NOTICES = (" you", " conversation", " chat", " session", " agent", " user", " the user", " message")
"""What stands after "System:" in a transcript."""

_VERBS = frozenset("says asks replies responds answers writes continues thinks here speaking".split())
_PARTS = frozenset(
    "turn response reply answer message question line lines part words message voice view side comment thoughts".split()
)
"""What belongs to a speaker: "Assistant's turn:"."""
_MODIFIERS = frozenset(
    "support financial customer service services client human virtual ai sales live chat care help senior technical wealth investment "
    "money retirement language online phone call user the reply response message answer question from by".split()
)
_NO_LABEL = frozenset(
    "dear hi hello hey re to my for ask any every next last a an question note your our another no one from cc".split()
)
"""What an address or a sentence begins with: "Dear Support Agent:"."""

_LABEL = re.compile(
    r"(?:^|(?<=[.!?…])[\"'”’)*]?\s+)"
    r"(?:[>*_#~•\"“`|–—\[(-]+\s*|\d{1,2}[.)]\s*|[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:\s*[ap]\.?m\.?)?[\])]?\s*[|–—-]?\s*)*"
    r"(?P<label>[^\W\d_][\w'’]*(?:[ -][^\W\d_][\w'’]*|(?<=[DMr][rs])\.\s[A-Z][\w'’]*){0,3})"
    r"(?:\s*#?\d{1,6}|\s[A-Z])?"
    r"(?:\s*\([^()\n]{1,40}\)|\s*\[[^\[\]\n]{1,40}\]|,\s*\w+(?:\s\w+){0,3}|\s*\*[^*\n]{1,40}\*)?"
    r"[*_\"”\])`]*\s*[:：][*_\"”`]*(?=(?P<after>.{0,60}))",
    re.MULTILINE,
)
_TITLES = frozenset(("mr", "mrs", "ms", "dr"))
_SENTENCE = re.compile(r"\s+[\"“'*(\[]*[A-Z](?:\S*\s+){2,}")

_ROLE = r"(?:[A-Z][\w-]*\s){0,2}(?:User|Client|Customer|Assistant|Advis[eo]r|Agent|Human|AI|Bot|Chatbot|Speaker|Rep|Representative|Support|Operator|Specialist|Planner|Investor|Fiduciary|Technician)(?:\s[A-Z\d])?"
_PEOPLE = "|".join(sorted(word.capitalize() for word in _PERHAPS_ROLES if len(word) > 3))
_CAPITALS = r"(?:USER|CLIENT|CUSTOMER|ASSISTANT|ADVIS[EO]R|AGENT|HUMAN|BOT|SUPPORT|ADVISER)"
_SPEAKERS = r"(?:gpt|user|client|customer|assistant|advis[eo]r|agent|support agent|representative|bot|human)"
_TELLS = (
    r"(?:says|replies|asks|answers|hesitates|nods|responds|explains|tells|sighs|thinks|writes|pauses|admits|agrees|wants to know|adds|continues|thanks|confirms|"
    r"suggests|describes|mentions|wonders|smiles|laughs|shrugs|reassures|acknowledges|apologizes)\b"
)
_PATTERNS = PatternSet(
    list_patterns(
        (
            "[ ( < * { _ ~ «",
            rf"\n\s{{0,6}}(?:[\[<{{(*_~«]{{1,3}})\s*(?:{_ROLE}|(?i:{_ROLE}))(?:['’]s \w+|\s?[-–—,:|/]\s?[^\[\]()<>*\n]{{1,30}}|\s\d{{1,2}})?\s*[\]>}})*_~»]{{1,3}}",
            0,
            "labels a speaker",
        ),
        ("[ ( < {", rf"\n[\[({{<](?:{_PEOPLE})[\])}}>]\s+[A-Z\"“][\w'’]*\s", 0, "labels a speaker"),
        (
            "> | ␣- – — → » =",
            rf"\n[>*_#\s]{{0,8}}(?:{_ROLE}|{_CAPITALS})(?:\s[A-Z]+|\s\d{{2,3}})?[*_]*\s*(?:[>|»]+|[=-]>|→|=\s|\s[-–—]{{1,3}}\s+(?=[A-Z\"“'’]))|\n(?:User|Assistant|Human|Client|Customer|Advis[eo]r|Agent|Support|{_CAPITALS})"
            r"\s[–—-]{1,2}\s",
            0,
            "labels a speaker",
        ),
        (
            "⏎adviser. ⏎advisor. ⏎client. ⏎customer. ⏎user. ⏎assistant. ⏎agent. ⏎human. ⏎support. / ⏎as␣",
            rf"\n{_CAPITALS}\.\s|\n(?i:{_SPEAKERS}|support)/\s|\nAs (?:the )?(?i:{_SPEAKERS})\s*(?:>>|:|—)",
            0,
            "labels a speaker",
        ),
        (":", r"\n(?!PS|OK|TV|HR|ID|IT|PC|RE|NB|US|UK|AM|PM|Q:|A:|B:)[A-Z]{1,2}:\s+[\"“]?[A-Z][\w']*\s", 0, "labels a speaker"),
        (")", rf"\((?:support|(?i:{_SPEAKERS}))\)\s*(?=\n|$)|\n{_ROLE} \([^()\n]{{3,40}}\)\s+[A-Z\"“']|\n\d{{1,2}}\)\s[^\n]*\?\s+\d{{1,2}}\)\s", 0, "labels a speaker"),
        (
            "> » | →",
            r"\n[>*_#\s]{0,8}(?:user|assistant|human|client|customer|advis[eo]r|agent|bot|system|support|me|you|them)\s?(?:[>»|]|→|[=-]>)\s",
            0,
            "labels a speaker",
        ),
        ("␣- – —", rf"\n(?:{_PEOPLE}|{_PEOPLE.upper()})(?:\s\d)?\s[–—-]{{1,2}}\s+(?=[A-Z\"“])", 0, "labels a speaker"),
        ("_", r"\n[a-z]+_\d+:\s", re.IGNORECASE, "labels a speaker"),
        (
            "'s␣answer 's␣reply 's␣response 's␣turn 's␣message ’s␣answer ’s␣reply ’s␣response ’s␣turn ’s␣message",
            rf"\b[Hh]ere(?:['’]s| is) the {_SPEAKERS}['’]s (?:\w+ )?(?:answer|reply|response|turn|message)\s*:",
            0,
            "labels a speaker",
        ),
        ("⏎response␣ ⏎reply␣ ⏎answer␣ ⏎message␣", r"\n(?:Response|Reply|Answer|Message) #?\d+\s*\n", re.IGNORECASE, "labels a turn"),
        ("␣>␣", r"\n\[?\d{1,2}:\d{2}\]?\s*\w+\s*>\s", 0, "labels a speaker"),
        (",␣says␣the ,␣said␣the ,␣asks␣the ,␣asked␣the", rf",\s(?:says|said|asks|asked|replies|replied) the {_SPEAKERS},", 0, "is a scene"),
        ("⏎kund ⏎berater ⏎client ⏎asesor ⏎usuario ⏎conseiller", r"\n(?:Kunde|Kundin|Beraterin|Berater|Cliente|Asesora|Asesor|Usuario|Conseiller)\s[–—-]{1,2}\s", 0, "labels a speaker"),
        ("⏎— ⏎– ⏎-", r"(?:\n\s{0,6}[—–-]\s+[^\n]+){3}", 0, "is a transcript"),
        ("_agent _user _assistant _client _customer _bot agent_ user_ assistant_ client_ customer_ bot_", r"\n(?:[a-z]{2,12}_(?:agent|user|assistant|client|customer|bot)|(?:agent|user|assistant|client|customer|bot)_[a-z]{2,12})\s*[:>|]", re.IGNORECASE, "labels a speaker"),
        ("reply␣ response␣ message␣ answer␣", rf"\n(?:Reply|Response|Message|Answer) #?\d+ \((?:{_SPEAKERS}|support)\):", re.IGNORECASE, "labels a turn"),
        ("//", rf"\n(?:{_ROLE}|Support|Service|Help)(?: (?:team|desk|line))? //\s+[A-Z]", 0, "labels a speaker"),
        ("1: 2:", r"\n([SPCU])\d: [A-Z].{1,200}?[.!?…]\s+\1\d: [A-Z]", 0, "is a transcript"),
        ("->␣ =>␣ →␣ >>␣ »␣", r"\n(\w+(?: \w+)?) ?([-=]>|→|>>|») (?=[a-z'’]+ [a-z'’]+)[^\n>→»]+\n(?!\1)(?!then\b|and\b)\w+(?: \w+)? ?\2 [^\n>→»]+(?=\n|$)", re.IGNORECASE, "is a transcript"),
        ("asked, said, answered, replied, asked: said:", rf"\bthe ({_SPEAKERS}) (?:asked|said|answered|replied)[,:] ?[\"“].{{1,200}}\bthe (?!\1)(?:{_SPEAKERS}) (?:asked|said|answered|replied)[,:] ?[\"“]", re.IGNORECASE, "is a transcript"),
        ("reply response message answer", rf"\n(?:Reply|Response|Message|Answer)\s*(?:\(|from |by |of |as )(?:the )?(?:{_SPEAKERS}|support)\)?\s*:|\n(?:{_SPEAKERS})(?:['’]s)? (?:message|reply|response|turn)\s*:", re.IGNORECASE, "labels a speaker"),
        (">>", r"\n(?:me|you|them|us|user|agent|support|client|customer)\s?>{2,3}\s", re.IGNORECASE, "labels a speaker"),
        ("␣|␣ ␣»␣ ␣>␣", rf"\n(?:{_PEOPLE}|{_ROLE}|Consultant|Counselor)\s[|»>]\s(?=[A-Z\"“])", 0, "labels a speaker"),
        (">> ->", rf"\n\W{{0,3}}[>-]>\s*(?:{_SPEAKERS}|support|system)\s*:", re.IGNORECASE, "labels a speaker"),
        ("⏎from␣ ⏎by␣", rf"\n(?:From|By) (?:the |our |your )?(?:{_SPEAKERS}|support)\s*:\s+[A-Z\"“]", 0, "labels a speaker"),
        ("⏎q␣- ⏎q␣– ⏎q␣—", r"\nQ\s?[-–—]+\s[^\n]{0,300}\sA\s?[-–—]+\s", 0, "is a transcript"),
        ("says:␣", r"(?:\b[A-Z] says:\s.{1,200}?){2}", 0, "is a transcript"),
        ("␣to␣", rf"\n(?:{_ROLE}|{_PEOPLE}|{_PEOPLE.lower()}) to (?i:{_SPEAKERS}|{_PEOPLE})\s*:\s", 0, "labels a speaker"),
        ("says, say, said,", r"(?:\b\w+ sa(?:ys?|id), [\"“][^\"”\n]+[\"”]\s+){2}", 0, "is a transcript"),
        ("wrote:", r"\nOn [^\n]{3,50}\bwrote:", 0, "is a quoted mail"),
        (
            "r⏎ n⏎ t⏎ k⏎ y⏎ e⏎",
            rf"\n(?:[A-Z][\w-]+ ){{1,3}}(?:{_ROLE}|Saver|Parent|Engineer|Trader|Owner|Nurse|Teacher|Worker|Solver|Desk|Buyer|Manager|Hunter|Grandfather)\s*\n",
            0,
            "labels a speaker",
        ),
        ("agent␣", r"\nAgent \d+ here\b", 0, "is a notice of a chat"),
        ("|␣", r"\s[A-Z]\|\s[^\n]{0,300}\s[A-Z]\|\s", 0, "is a transcript"),
        ("over␣to␣you back␣to␣you", r"[.!]\s(?:Over|Back) to you[.!]?(?=\n|$)", 0, "hands over to a speaker"),
        ("say:", r"\byou(?:['’]ll)? say:.{0,300}\bI(?:['’]ll)? say:", 0, "is a transcript"),
        ("turn", r"\n\W{0,6}(?i:turn)\s*#?\d{1,2}\b[^\n]{0,24}?[:.)\]—–-]\s", 0, "labels a turn"),
        ("q: q1: q. q␣- q) q1. q1)", r"\n\W{0,6}Q\d?\W{0,3}[:.)]\s(?:[^\n]{0,300}\n?){0,3}?\s\W{0,4}A\d?\W{0,3}[:.)]\s", 0, "is a transcript"),
        (" ".join(f"␣{letter}:␣ ⏎{letter}:␣" for letter in "abcdefghijklmnopqrstuvwxyz"), r"([A-Z]):\s(?<=\s[A-Z]:\s)(?=.{0,300}?[.!?…]\s+(?!\1)[A-Z]:\s.{0,300}?[.!?…]\s+\1:\s)", 0, "is a transcript"),
        ("⏎response ⏎reply ⏎answer", r"\n(?:Response|Reply|Answer)\s*(?:#?\d+\s*)?(?::|\s[–—-]{1,2}\s)", re.IGNORECASE, "labels a turn"),
        ("⏎#", r"\n#{1,6}\s*(?:response|instruction|input|output|user|assistant|human|client|customer|advis[eo]r|agent|question|answer|system)\b", re.IGNORECASE, "labels a turn"),
        (
            "⏎user␣ ⏎assistant␣ ⏎human␣",
            r"\n(?:user|assistant|human)\s+(?:the|i|i'm|i’m|i've|my|you|your|we|it|it's|it’s|this|that|what|how|can|do|yes|no|ok|okay|hi|hello|so|and|but|well|then)\b(?! error)",
            re.IGNORECASE,
            "labels a speaker",
        ),
        (
            "client␣then␣ user␣then␣ assistant␣then␣ client␣now␣ user␣now␣ assistant␣now␣",
            rf"[.!?…]\s+The (?:client|user|assistant) (?:then|now) {_TELLS}",
            re.IGNORECASE,
            "tells what a speaker does",
        ),
        ('⏎" ⏎“', r"\n[\"“][^\"”\n]+[,.!?…][\"”]\s+(?:\w+\s+){0,3}?(?:said|says|asked|asks|replied|answered|sighed|whispered)\b[^\"“\n]{0,30}(?:[\"“][^\"”\n]+[\"”]\s*)?(?=\n|$)", 0, "is a scene"),
        ("said:␣ said,␣ says:␣ says,␣ asked:␣ asks:␣ replied:␣ replies:␣", r"(?:\bsa(?:id|ys)[:,]\s[\"“'‘][^\n]*){3}|\b(?i:client|user|customer) (?:said|says|asked|asks|replied|replies):\s[\"“]", 0, "is a transcript"),
        (
            "joined is␣typing has␣left the␣chat",
            rf"\n\W{{0,6}}(?:{_ROLE}|[A-Z]\w+)\s+(?:has joined|is typing|has left the (?:chat|conversation)|joined the (?:chat|conversation)|left the (?:chat|conversation))",
            0,
            "is a notice of a chat",
        ),
        ("from: sender: speaker: role: author:", rf"\n(?:From|Sender|Speaker|Role|Author)\s*:\s*{_SPEAKERS}\b", re.IGNORECASE, "labels a speaker"),
        ("⏎— ⏎– ⏎-", rf"\n\s{{0,6}}[—–-]{{1,2}}\s*(?:(?:The|Your|A)\s)?(?:[A-Z][\w'-]+\s){{0,3}}(?:{_ROLE}|[A-Z]\w+(?:[eo]r|ist|ary))\s*(?=\n|$)", 0, "signs as a speaker"),
        ("", r"\n[^\w\s\"“'‘(\[<*:;.,!?$€£—–-]\ufe0f?\s*[:：]\s", 0, "labels a speaker"),
    )
)  # fmt: skip
_ALONE = re.compile(
    r"^[\W\d_]{0,8}(?:USER|CLIENT|CUSTOMER|ASSISTANT|ADVIS[EO]R|AGENT|HUMAN|AI|BOT|SUPPORT|(?i:(?:the )?(?:user|client|customer|assistant|advis[eo]r|agent|human|bot)))[\W_]{0,8}$",
    re.MULTILINE,
)
"""A line that holds nothing but a label."""

_ACTS = (
    r"(?:hesitates|nods|sighs|pauses|smiles|laughs|shrugs|wonders|thinks|admits|thanks|acknowledges|reassures|wants to know)\b"
)
_TOLD = {
    "assistant": re.compile(rf"The {_SPEAKERS} {_TELLS}", re.IGNORECASE),
    "user": re.compile(rf"The {_SPEAKERS} {_ACTS}|The user {_TELLS}", re.IGNORECASE),
}
"""How a turn begins that tells of its speaker. A user may well tell of an adviser, or of a client: "The client says it's their system"."""

_SCENE = re.compile(
    r"[\"“][^\"”\n]+[\"”]\s+(?:she|he|they|the \w+)\s+(?:said|asks|asked|says|replied|replies|answered|whispered|sighed)\b"
)


@dataclass(frozen=True, slots=True)
class _Label:
    text: str
    kind: Literal["sure", "sentence", "name", "pair"]


@scorer("speaker_labels", version=6)
def speaker_labels(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drops a conversation in which a turn names its speaker, or holds several speakers."""
    persona = context.persona.lower()
    for number, turn in enumerate(conversation.turns, 1):
        text = turn.content
        perhaps = ":" in text or "\n" in text or text[:1] in _BEGINS or "：" in text
        if perhaps and (found := _find_label(turn, persona)):
            return reject_turn("drop", number, turn, *found)
    return _PATTERNS.judge(conversation)


def _find_label(turn: Turn, persona: str) -> tuple[str, str] | None:
    text = turn.content
    if text[:4] == "The " and (told := _TOLD[turn.role].match(text)):
        return told[0], "tells what a speaker does"
    if turn.role == "assistant" and text[:1] in '"“' and (scene := _SCENE.match(text)):
        return scene[0], "is a scene"
    if "\n" in text and (alone := _ALONE.search(text)):
        return alone[0], "labels a speaker"
    if ":" not in text and "：" not in text:
        return None
    labels = list(_list_labels(text, persona))
    if sure := next((label for label in labels if label.kind == "sure"), None):
        return sure.text, "labels a speaker"
    if text.count(": ") > 2 and _alternate([found[0].rstrip(" :：*_").lower() for found in _SHORT_LABEL.finditer(text)]):
        return text[:60], "is a transcript"
    pairs = [label for label in labels if label.kind in ("pair", "sentence")]
    if len(labels) > 1 and (pairs or len({label.text for label in labels}) < len(labels)):
        return f"{labels[0].text} … {labels[1].text}", "label speakers"
    return None


_BEGINS = frozenset('T"“')
_SHORT_LABEL = re.compile(
    r"(?:^|(?<=[.!?…]\s))(?:[*_]{0,2}[A-Z][a-z]{2,14}(?: [A-Z\d]\w{0,12})?[*_]{0,2}: |(?!mon|tue|wed|thu|fri|sat|sun)[a-z]{1,10}: (?=[a-z'’]+,? [a-z'’]+))",
    re.MULTILINE,
)


def _alternate(labels: list[str]) -> bool:
    """Whether a label comes again after another one."""
    return any(first == third != second for first, second, third in zip(labels, labels[1:], labels[2:], strict=False))


_MOST_BLANKS = 8
"""Number of blanks before a colon from which no label stands there, unless with an addition: it has four words at most."""


def _list_starts(text: str) -> Iterator[int]:
    """Where sentences begin that have a colon within 80 characters: looking for labels there takes a quarter of the time."""
    text = text.replace("：", ":")
    colon = text.find(":")
    while colon >= 0:
        start = _find_start(text, colon)
        if colon - start < 80 and (
            text.count(" ", start, colon) < _MOST_BLANKS or any(mark in text[start:colon] for mark in "([,*")
        ):
            yield start
        colon = text.find(":", colon + 1)


def _find_start(text: str, end: int) -> int:
    while start := max([text.rfind(mark, max(0, end - 100), end) for mark in ".!?…\n"]) + 1:
        if text[max(0, start - 4) : start - 1].rsplit(" ", 1)[-1].lower() not in _TITLES:
            break
        end = start - 1
    return start


def _list_labels(text: str, persona: str) -> Iterator[_Label]:
    for start in dict.fromkeys(_list_starts(text)):
        if not (found := _LABEL.match(text, start)):
            continue
        words = found["label"].split()
        speaks = len(words) > 1 and words[-1] in _VERBS
        words = words[:-1] if speaks else words
        after = found["after"] if found["after"].strip() else " " + text[found.end() : found.end() + 60].lstrip()
        kind = _judge_label(words, after, at_start=found.start() == 0)
        if " ".join(words).lower() == persona or (kind == "pair" and speaks):
            kind = "sure"
        if kind:
            yield _Label(found[0].strip(), kind)


def _judge_label(words: list[str], after: str, *, at_start: bool) -> Literal["sure", "sentence", "name", "pair"] | None:
    """What words before a colon label: surely a speaker, somebody who then says a sentence, a name, one of two; None for nothing."""
    words = words[:-1] if len(words) > 1 and len(words[-1]) == 1 else words  # Person A
    first, last = words[0].lower().rstrip("."), words[-1].lower()
    titled = all(word[0].isupper() for word in words)
    says = bool(_SENTENCE.match(after))
    amount = after.strip()[:1] in "$€£0123456789"
    if first in _NO_LABEL:
        return None
    if _is_role(words, titled=titled, says=says):
        return "sure"
    if first == "system" and len(words) == 1 and after.lower().startswith(_NOTICES):
        return "sure"
    if (last in _PERHAPS_ROLES or _PERSON.fullmatch(last)) and titled and not amount:
        return "sure" if len(words) > 1 or (at_start and says) else "pair"
    if (
        (last in _PERHAPS_ROLES or last in _ROLES)
        and len(words) == 2
        and words[0][0].isupper()
        and first not in _JUDGES
        and at_start
        and says
    ):
        return "sure"
    if last in _PAIRED and len(words) == 1 and not amount:
        return "pair"
    if first in _read_names() and len(words) == 3 and words[1] in ("from", "at", "in") and at_start and says:
        return "sure"
    if first in _PERHAPS_ROLES and len(words) == 2 and titled and at_start and says:
        return "sure"
    if titled and len(words) < 3 and not amount and (first in _read_names() or (first in _TITLES and len(words) == 2)):
        return ("sure" if at_start else "sentence") if says else "name"
    return None


def _is_role(words: list[str], *, titled: bool, says: bool) -> bool:
    first, last = (word.lower().replace("’", "'").removesuffix("'s") for word in (words[0], words[-1]))
    if len(words) == 1:
        return last in _ROLES
    owned = words[0].lower().endswith(("'s", "’s")) and (first in _ROLES or first in _PERHAPS_ROLES)
    if last in _ROLES:
        return titled or owned or all(word.lower() in _MODIFIERS for word in words[:-1])
    return (owned and last in _PARTS) or (
        first in _ROLES and len(words) == 2 and titled and (last in _read_names() or (says and last not in _FIELDS))
    )


@cache
def _read_names() -> frozenset[str]:
    lines = (files("convoforge.scoring.filters") / "words" / "first_names.txt").read_text("utf-8").splitlines()
    return frozenset(name for line in lines if not line.startswith("#") for name in line.split())
