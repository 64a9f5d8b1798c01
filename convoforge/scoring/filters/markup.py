"""Markup where people talk: Markdown, lists, code, JSON, HTML, stage directions, emoji. `quality.allow` lets each of them pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from convoforge.models import Conversation
from convoforge.scoring.contract import FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import FaultPattern, PatternSet, list_patterns

_ACTS = (
    "sigh|laugh|chuckle|giggle|snort|smile|grin|smirk|beam|frown|wince|grimace|nod|shrug|pause|hesitate|cough|sniff|sniffle|sob|cry|weep|"
    "gasp|groan|moan|gulp|swallow|exhale|inhale|breathe|whisper|mutter|mumble|murmur|blush|blink|squint|yawn|stammer|stutter|fidget|"
    "lean|glance|stare|gaze|gesture|wave|clap|facepalm|tear up|tap|scribble|jot|type|scroll|rummage|shuffle|flip|sip|pace|shiver|tremble|"
    "scoff|hum|wink|pout|fume|bristle|soften|relax|perk up|lighten|brighten|trail off|roll|raise|shake|scratch|rub|bite|clear|take|draw|let|"
    "look|sit|stand|turn|check|pull|open|hold|put|set|slam|hang|reach|adjust|think|consider|ponder|wait|listen|speak|read|write|return|"
    "reply|respond|continue|break|choke|collect|gather|wipe|cross|fold|throw|lower|lift|bow|steeple|walk|step|enter|leave|exit|start|stop"
)
_THIRD = rf"(?:(?:{_ACTS})(?:e?s|ies)?|cries|{_ACTS.replace('e|', '|')}ing|(?:sigh|laugh|nod|smil|paus|typ|shrugg|nodd|paus|rubb|tapp|clapp|hesitat|exhal|inhal|cry|breath|gestur|fum)ing)"
_EMOTIVE = (
    "(?:sigh|laugh|chuckle|giggle|snort|smile|grin|smirk|frown|wince|nod|shrug|pause|hesitate|cough|sniff|sniffle|sob|weep|gasp|groan|gulp|"
    "exhale|inhale|whisper|mutter|mumble|blushe|fidget|stammer|facepalm)s|cries|(?:sigh|laugh|chuckl|giggl|snort|smil|grinn|smirk|frown|winc|"
    "nodd|shrugg|hesitat|cough|sniff|sniffl|sobb|weep|gasp|groan|gulp|exhal|inhal|whisper|mutter|mumbl|blush|fidget|stammer|cry|typ)ing|"
    "pausing(?=[\\s.…!]*[)）\\]*_~]|,| (?:for|to))|thinking for|(?:the )?line (?:goes|went) (?:quiet|silent|dead)|types(?=[)）,]| and| for| quickly| slowly)|deletes(?=,)|breath(?:es|ing) (?:deeply|in|out|heavily)|tear(?:s|ing) up|lean(?:s|ing) (?:in|back|forward|over|closer)|glanc(?:es|ing)|star(?:es|ing) at|"
    "gestur(?:es|ing)|shak(?:es|ing) (?:his |her |their |my )?head|roll(?:s|ing) (?:his |her |their |my )?eyes|"
    "rais(?:es|ing) (?:an? |his |her |their )?(?:eyebrow|hand|voice)s?|clear(?:s|ing) (?:his |her |their |my )?throat|"
    "tak(?:es|ing) (?:a |another )?(?:deep |long |slow |shaky )*(?:breath|pause|sip|moment|note)s?|"
    "look(?:s|ing) (?:down|away|up|at (?:the |his |her |their )?(?:screen|notes?|clock|watch|floor|phone|papers?|file))|"
    "(?:his |her |their )?voice (?:break|shak|trembl|crack|soften|drop|ris)\\w*|wip(?:es|ing) (?:away |his |her |their )*(?:tears?|eyes)|"
    "pull(?:s|ing) up (?:the|a|an|your|his|her) \\w+|open(?:s|ing) (?:the|a) (?:drawer|file|laptop|folder)|"
    "check(?:s|ing) (?:his |her |their |the )?(?:notes?|screen|file|records?|system)|writ(?:es|ing) (?:it |this |that )?down|hang(?:s|ing) up|"
    "phone rings|trail(?:s|ing) off|(?:visibly|clearly) (?:relieved|upset|nervous|shaken|annoyed|moved)|"
    "(?:in a |with a |speaking )[\\w-]+(?:ly)? (?:voice|tone|smile|sigh|laugh|nod|shrug)|"
    "(?:sigh|laugh|laughter|chuckle|giggle|pause|silence|beat|cough|smile|grin|nod|shrug|gulp|sob|gasp|groan|hesitation|deep breath|applause|eye[- ]?rolls?|air quotes|wink|thumbs up|facepalm|"
    "nervous|softly|quietly|sarcastically|sheepishly|hesitantly|warmly|gently|tearfully|angrily|excitedly|curtly|nervously)(?=[\\s.…!]*[)）\\]*_~])"
)
_WHO = r"(?:the |a )?(?:client|adviser|advisor|user|customer|agent|assistant|man|woman|he|she|they|both|[A-Z][a-z]+)\s+"
_LEAD = r"(?:(?:a |an |the )?(?:long|short|brief|awkward|deep|heavy|slight|small|little|nervous|soft|quiet|bitter|wry|dry|half|another|after a|after a long|after a moment,?|then|still|almost|visibly|\w+ly)[\s,]+){0,3}(?:a |an |the )?"

_HTML = (
    "a|abbr|article|aside|audio|b|blockquote|body|br|button|center|cite|code|div|del|details|em|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|"
    "label|li|link|main|mark|meta|nav|ol|option|p|pre|script|section|select|small|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|textarea|th|thead|title|"
    "tr|tt|u|ul|video"
)
_EMOJI = (
    "[\U0001f1e6-\U0001f1ff\U0001f300-\U0001f64f\U0001f680-\U0001f6ff\U0001f780-\U0001f7ff\U0001f900-\U0001f9ff\U0001fa70-\U0001faff\U0001f004\U0001f0cf"
    "\U0001f18e\U0001f191-\U0001f19a\U0001f201-\U0001f251\u2600-\u26ff\u2702-\u27b0\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u231a\u231b\u23e9-\u23f3\u23f8-\u23fa"
    "\u20e3\u3030\u303d\u3297\u3299\ufe0f]"
)

_PATTERNS: Mapping[str, tuple[FaultPattern, ...]] = {
    "markdown": list_patterns(
        ("→ ⇒ ➜ ⟶ ⟹ ➔", r"[→⇒➜⟶⟹➔]", 0, "is notation"),
        ("[source [citation [ref [cite", r"\[(?:source|citation|cite|ref(?:erence)?)\b[^\]\n]*\]", re.IGNORECASE, "is a footnote"),
        ("#", r"#[A-Za-z]\w{2,}\s+#[A-Za-z]\w{2,}", 0, "is a hashtag"),
        (":⏎", r"\n\s*(?:[A-Z][\w'’]+\s){1,4}?(?:[A-Z][\w'’]+):[ \t]*\n\s*\n", 0, "is a heading"),
        ("⁽", r"⁽[¹²³⁴-⁹⁰]+⁾", 0, "is a footnote"),
        ("{", r"\\[a-z]+\{[^}\n]*\}", 0, "is LaTeX"),
        ("**", r"\*\*(?=\S)[^*\n]+\*\*|^\s*\*\*[^\s*]|[^\s*\w]\*\*\s*$", 0, "is Markdown"),
        ("__", r"__(?<!\w__)(?=[^\W_])[^\n]{1,200}?(?<=[^\s_])__(?!\w)", 0, "is Markdown"),
        ("*", r"\*(?<![\w*\\]\*)(?=[^\s*])[^*\n]{1,200}?(?<=[^\s*])\*(?![\w*])", 0, "is Markdown, or a stage direction"),
        ("_", r"_(?<![\w_/]_)(?=[^\W_])[^_\n]{1,200}?(?<=[^\s_])_(?![\w_/])", 0, "is Markdown, or a stage direction"),
        ("⏎# ⏎␣", r"^\s*#{1,6}\s+(?!of\b)\S.*|^\s*#{2,6}\S.*", 0, "is a heading"),
        (
            ":⏎",
            r"^\s*(?:(?:Executive )?Summary|Action items|Next steps|Key (?:points|takeaways)|Recommendations?|Conclusion|Overview|Background|Pros|Cons|Takeaways|TL;?DR|"
            r"Steps|Bottom line|Details|Disclaimer)\s*:\s*\n",
            re.IGNORECASE,
            "is a heading",
        ),
        ("⇥", r"\S\t[^\n\t]{1,200}\t", 0, "is a table"),
        ("⏎> ⏎␣", r"^\s*>\s?(?!\d)\S.*", 0, "is a quotation of Markdown"),
        ("]( ][ ]:", r"!?\[[^\]\n]{0,200}\](?:\([^)\n]{0,200}\)|\[[^\]\n]{0,200}\])|^\s*\[[^\]\n]+\]:\s", 0, "is a link"),
        ("|", r"^\s*\|.*\|\s*$|^[^|\n]+\|[^|\n]+(?:\|[^|\n]*)*\n\s*\|?\s*:?-{2,}|\|\s*:?-{3,}|(?:[^|\n]{1,40} \| ){2,}", 0, "is a table"),
        ("--- *** ___ === -␣-␣- *␣*␣* ~~~ ─── ——— ###", r"^\s*(?:[-*_=~─—#]\s?){3,}\s*$", 0, "is a rule"),
        ("~ == || ++", r"~(?<![\w~]~)(?=[^\s~])[^~\n]{1,80}(?<=[^\s~])~(?!~)|~~(?=\S)[^~\n]+~~|==(?<![=\w]==)(?=\S)[^=\n]+(?<=\S)==(?!=)|\|\|\S[^|\n]*\|\||\+\+(?<!\w\+\+)\S[^+\n]*\+\+(?!\w)", 0, "is Markdown"),
        ("[", r"\[\^\w+\]|\[(?<=[\w.,)]\[)\d{1,3}(?:[,–-]\s?\d{1,3})*\]|\[(?<=[\w.,)]\s\[)\d{1,2}\]", 0, "is a footnote"),
        (
            "$$ \\( \\[ \\frac \\text \\times \\begin \\cdot \\boxed \\approx $\\ \\sqrt",
            r"\$\$|\\[(\[]|\\(?:frac|text|times|begin|cdot|boxed|approx|sum|sqrt|left|right|mathrm)\b",
            0,
            "is LaTeX",
        ),
        ("[/ ''' [[", r"\[/(?:b|i|u|url|quote|code|list|size|color|img|s)\]|'''[^'\n]+'''|\[\[[^\[\]\n]{1,80}\]\]", re.IGNORECASE, "is markup of a forum or a wiki"),
    ),
    "lists": list_patterns(
        ("␣=␣", r"\n\w[\w ]{0,20} = [^\n]+\n+\w[\w ]{0,20} = ", 0, "is a list"),
        ("second:", r"\bFirst:\s.*\bSecond:\s.*\bThird:\s", re.IGNORECASE, "is a list"),
        ("(ii)", r"\(i\)\s.*\(ii\)\s", 0, "is a list"),
        ("(2)", r"\(1\)\s.*\(2\)\s", 0, "is a list"),
        ("␣//␣", r" // [^\n]* // ", 0, "is a list"),
        ("␣>>␣", r"\w >> [^\n]*\w >> ", 0, "is a list"),
        ("c) 3)", r"(?<![\w(])\(?a\)\s.{0,300}?[\s(]b\)\s.{0,300}?[\s(]c\)\s|(?<![\w(])\(?1\)\s.{0,300}?[\s(]2\)\s.{0,300}?[\s(]3\)\s", 0, "is a list"),
        ("cons: cons␣of", r"\bPros(?: of \w+)?\s*:.*\bCons(?: of \w+)?\s*:", re.IGNORECASE | re.DOTALL, "is a list"),
        (":", r"\n[A-Z][\w ]{1,20}:[ \t]?\S[^\n]*\n+[A-Z][\w ]{1,20}:[ \t]?\S[^\n]*\n+[A-Z][\w ]{1,20}:", 0, "is a list"),
        ("• ‣ ◦ ▪ ● ■ ○ ∙ ⁃ ➤ ► ▶ ➢ ✦ ⏎·", r"^\s*(?:[•‣◦▪●■○∙⁃➤►▶➢✦]\s*\S|·\s+\S).*|[•●▪‣◦]\s.*\s[•●▪‣◦]\s", 0, "is a list"),
        (
            "⏎- ⏎* ⏎+ ⏎– ⏎— ⏎→ ⏎␣",
            r"(?:^[ \t]*[-*+–—→]\s+\S.*(?:\n\s*)+)+\s*[-*+–—→]\s+\S.*|^.*[:.;]\s*\n+\s*[-*+]\s+\S.*|^\s*[-*]\s+\[[ xX]?\]\s",
            0,
            "is a list",
        ),
        (
            "⏎1. ⏎1) ⏎(1 ⏎a) ⏎a. ⏎(a ⏎i. ⏎i) ⏎␣ ① ⏎step␣1 ⏎2. ⏎2)",
            r"^\s*\(?(?:1|a|A|i|I)[.)]\)?\s+\S.*\n(?:.*\n)*?\s*\(?(?:2|b|B|ii|II)[.)]\)?\s+\S|^\s*1[.)]\s+\S.*\s2[.)]\s+\S.*\s3[.)]\s+\S|[①②③].*[②③④]"
            r"|^\s*Step 1\W.*\n(?:.*\n)*?\s*Step 2\W|[.:!?]\s*\n\s*\d[.)]\s+\S",
            0,
            "is a list",
        ),
    ),
    "code": list_patterns(
        ("``` ~~~", r"(?:```|~~~)[^\n]*", 0, "is code"),
        ("`", r"`(?<![`\w]`)[^`'\n]{1,200}`(?!`)", 0, "is code"),
        (
            "⏎def␣ ⏎import␣ ⏎from␣ ⏎function ⏎async␣ ⏎const␣ ⏎let␣ ⏎var␣ ⏎class␣ ⏎#include ⏎public␣ ⏎private␣ ⏎if( ⏎if␣( ⏎while ⏎for( ⏎for␣( ⏎$␣ ⏎sudo ⏎curl ⏎npm ⏎pip ⏎␣",
            r"^\s*(?:def \w+\(.*\)\s*(?:->.*)?:|(?:from [\w.]+ )?import [\w.]+(?: as \w+)?(?:;|\s*$)|(?:async )?function\s*\w*\(|(?:const|let|var) \w+\s*=|class \w+[(:{]|#include"
            r"|(?:public|private) (?:static )?\w+ \w+\(|(?:if|while|for) ?\(.*\)\s*\{|\$ (?:sudo|pip|npm|curl|git|cd|ls)\b|(?:sudo|curl|npm|pip) \S+ \S+)",
            0,
            "is code",
        ),
        (
            "print( console. select␣ insert␣into update␣",
            r"\b(?:print|console\.(?:log|error))\(|\b(?:SELECT\s+[\w*, .]+\s+FROM\s+\w+|INSERT\s+INTO\s+\w+|UPDATE \w+ SET)\b|\bselect \* from\b",
            0,
            "is code",
        ),
        ("{ => () == += != := ⏎return␣ ␣=␣", r"\b[a-z_]\w* = [\w.]+;|\w+\([^()\n]*\)\s*(?:;|\{)|=>\s*\{|[)}\]\w];\s*\n\s*[\w}]+.*[;{}]|\b\w+\.\w+\(\)|\b\w+ (?:==|!=|\+=|:=) \w+|^\s*return [\w.\[\]()+*/ -]+;", 0, "is code"),
    ),
    "json": list_patterns(
        (
            '{ ":',
            r"[{\[]\s*\"[^\"\n]{1,60}\"\s*:|\"[A-Za-z_][\w ]{0,30}\"\s*:\s*(?:\"[^\"\n]*\"\s*[,}\]]|[\[{]|-?\d+(?:\.\d+)?\s*[,}\]]|true\b|false\b|null\b)|\[\s*\{|\}\s*[,\]]\s*[\{\]]"
            r"|\{\s*'[^'\n]{1,40}'\s*:|\{\s*[a-z_]\w*\s*:\s*[\"'\d\[{]|\}\]\}?|\{[A-Za-z]\w*\s*:\s?[^{}\n]+\}|^\s*\"?(?:role|content|turns|messages|speaker|text)\"?\s*:\s*[\"\[{]",
            0,
            "is JSON",
        ),
        ("role: ⏎--- content:", r"^---\s*\n\s*\w+:\s|^\s*-?\s*(?:role|content):\s*\S", 0, "is YAML"),
        (":", r"\n[- ]{0,4}[a-z]\w*_\w*:\s*\S.*\n[- ]{0,4}[a-z]\w*_\w*:\s*\S|\n[- ]{0,4}[a-z_]\w{0,24}:\s*\S.*\n[- ]{0,4}[a-z_]\w{0,24}:\s*\S.*\n[- ]{0,4}[a-z_]\w{0,24}:\s*\S", 0, "is YAML"),
    ),
    "html": list_patterns(
        (
            "<",
            rf"</?(?:{_HTML})(?:\s[^<>\n]*)?/?>|</[A-Za-z][\w:-]*\s*>|<[A-Za-z][\w:-]*(?:\s+[\w:-]+\s*=\s*(?:\"[^\"\n]*\"|'[^'\n]*'))+\s*/?>|<[A-Za-z][\w:-]*\s*/>"
            r"|<!--|-->|<!DOCTYPE|<\?xml|<!\[CDATA",
            re.IGNORECASE,
            "is HTML or XML",
        ),
        ("&", r"&(?:nbsp|amp|lt|gt|quot|#\d+);|&lt;/?\w+&gt;", 0, "is HTML or XML"),
    ),
    "stage_directions": list_patterns(
        (
            "* _ ~ [ { < ::",
            rf"(?:\*{{1,2}}(?<!\w\*)|_{{1,2}}(?<!\w_)|~|\[|\{{|<|::)\s*(?i:(?:{_WHO})?{_LEAD}(?:{_THIRD}|{_EMOTIVE})\b)[^*_~\]}}>:\n]{{0,80}}(?:\*{{1,2}}|_{{1,2}}|~|\]|\}}|>|::)",
            0,
            "is a stage direction",
        ),
        (
            "( （",
            rf"[(（]\s*(?:{_WHO})?(?i:{_LEAD}(?:{_EMOTIVE}))(?=\s*[,.;:!…)）]|\s+(?:[\w'’-]+\s*,?\s*){{0,6}}[.…]?\s*[)）])(?![^()（）\n]*\bI\b)[^()（）\n]{{0,80}}[)）]",
            0,
            "is a stage direction",
        ),
        (
            "( [",
            r"[(\[](?:The |A )?(?:[Cc]lient|[Aa]dvis[eo]r|[Uu]ser|[Cc]ustomer|[Aa]gent|[Aa]ssistant)(?:'s|’s)?\s+\w+(?:s|ing|ed)\b[^()\[\]\n]{0,120}[)\]]",
            0,
            "is a stage direction",
        ),
        (
            "⏎scene ⏎(end␣of ⏎[end␣of ⏎*scene ⏎[scene ⏎(scene ⏎fade ⏎cut␣to ⏎int. ⏎ext. curtain. ⏎/s ␣/s ⏎/j ␣/j /srs /hj",
            r"\n\W*(?:INT\.|EXT\.|FADE (?:IN|OUT)|CUT TO|SCENE\b|\(?(?:End|Beginning|Start) of scene|Scene \d|Curtain\.)|(?:^|\s)/(?:s|j|srs|hj|lh)\b",
            0,
            "is a stage direction",
        ),
    ),
    "emoji": list_patterns(
        ("", _EMOJI, 0, "is an emoji"),
        (
            " ".join(f":{letter}" for letter in "abcdefghijklmnopqrstuvwxyz+") + " :-1",
            r":(?<![\w:]:)(?:[a-z]+(?:_[a-z]+)*|\+1|-1):(?!\w)",
            0,
            "is an emoji",
        ),
        ("^_^ ^^ ╯ ツ ʘ ಠ ◕ づ t_t >_< o_o ʕ (｡ (• (･", r"\^_?\^|[╯ツʘಠ◕づʕ]|T_T|>_<|[oO]_[oO]|\(｡|\(\s*[•･]", 0, "is an emoji of characters"),
    ),
}  # fmt: skip
"""What `quality.allow` calls them, and what they look like. A client's ":)" is none: people write it."""


@scorer("markup", version=1)
def markup(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drops a conversation with markup that the spec does not allow."""
    return _choose_patterns(context.allow).judge(conversation)


@cache
def _choose_patterns(allow: frozenset[str]) -> PatternSet:
    return PatternSet([pattern for key, patterns in _PATTERNS.items() if key not in allow for pattern in patterns])
