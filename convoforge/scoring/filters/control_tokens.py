"""Control tokens of chat templates, and tags of tools and of thinking: a model trained on them writes the other side's turn."""

from __future__ import annotations

import re

from convoforge.models import Conversation
from convoforge.scoring.contract import FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import PatternSet, list_patterns

_BAR = "[|｜┃│¦]"

_PARTS = (
    "cite|think|thinking|thought|thoughts|ctx|scratch|rationale|step|steps|search|reason|reasoning|reflection|reflect|scratchpad|monologue|inner|internal|analysis|planning|plan|"
    "critique|draft|commentary|observation|action|tool|tools|toolcall|function|functions|func|invoke|parameter|parameters|antml|args|"
    "arguments|call|calls|result|results|answer|response|reply|final|begin|start|end|stop|bos|eos|eot|eod|eom|eop|sop|eoa|pad|unk|mask|"
    "sep|cls|inst|instruction|instructions|sys|system|user|assistant|human|bot|ai|gpt|model|turn|message|messages|conversation|"
    "dialog|dialogue|chat|role|prompt|context|document|documents|doc|search_results|artifact|reserved|special|unused|extra|image|ctrl|"
    "control|token|im|fim|prefix|suffix|middle|header|endoftext|startoftext|sentence|query|memory|transcript|persona|client|adviser|"
    "advisor|agent|customer|speaker|content|text|output|input"
)
_HTML = "input|content|image|mark"

_TAG = rf"</?\s*(?!(?:{_HTML})\b)(?:[A-Za-z][A-Za-z0-9]*[_:.-])*(?:{_PARTS})(?:[_:.-][A-Za-z0-9]+|\d+)*(?:\s+[\w:-]+\s*=[^<>]*)?\s*/?>"
"""A tag of which one part is such a word. HTML's own tags are the filter `markup`'s."""

_WORDS = (
    "inst|sys|sys_prompt|system_prompt|system|user|assistant|human|cls|sep|pad|mask|unk|bos|eos|eot|eod|end|stop|gmask|smask|tool_calls?|"
    "tool_results?|tool_use|tool_content|tool_call|available_tools|function_calls?|img|img_end|img_break|prefix|suffix|middle|think|thinking|"
    "thought|reasoning|analysis|scratchpad|control_\\d+|unused\\d+|reserved_\\d+|special_\\d+|begin_of_\\w+|end_of_\\w+|start_of_\\w+"
)

_PATTERNS = PatternSet(
    list_patterns(
        (
            "| ｜ ┃ │ ¦",
            rf"<[/\s]*{_BAR}\s*/?\w[^<>\n]*>?|\w+\s?{_BAR}>|{_BAR}>(?<=\S{_BAR}>)|\[\|/?\w+\|\]?|&lt;\s*{_BAR}\s*\w+",
            0,
            "is a control token of a chat template",
        ),
        ("<", r"</?s>|<</?SYS>>|<0x[0-9A-F]{2}>|\[/?INST\]", re.IGNORECASE, "is a control token of a chat template"),
        ("<", _TAG, re.IGNORECASE, "is a control token, or a tag of tools or thinking"),
        (
            "<",
            r"</?(?:think(?:ing)?|scratchpad|reasoning|reflection|tool_\w+|function_\w+|functions?|invoke|antml:\w+|im_\w+)\b[^<>\n]{0,60}>?",
            re.IGNORECASE,
            "is a tag of tools or thinking",
        ),
        (
            "&lt;",
            rf"&lt;\s*/?\s*(?:\w+[_:.-])*(?:{_PARTS})(?:[_:.-]\w+)*\s*/?\s*&gt;",
            re.IGNORECASE,
            "is an escaped control tag",
        ),
        ("[", rf"\[\s*/?\s*(?:{_WORDS})\s*/?\s*\]", re.IGNORECASE, "is a control token of a chat template"),
        (
            "[",
            r"\[\s*(?:tool|function|calling|call|invoking|using|searching|search|querying|retrieving|looking up|api|plugin|internal|inner|hidden|"
            r"thinking|thoughts?|reasoning|scratchpad|chain[ -]of[ -]thought|analysis)\b[^\[\]\n]{0,80}\]",
            re.IGNORECASE,
            "is a tool call or a thought",
        ),
        (
            "( { *",
            r"(?:\(|\{|\*{1,2})\s*(?:thinking|thoughts?|reasoning|scratchpad|chain[ -]of[ -]thought|internal(?: (?:thought|note|reasoning|monologue)s?)?|"
            r"inner (?:thought|monologue)s?|tool (?:call|use|result)|function call)\s*:",
            re.IGNORECASE,
            "is a thought that was not to be said",
        ),
        (
            "thinking: thought: thoughts: reasoning: analysis: scratchpad: ⏎internal chain␣of␣thought:",
            r"^\W*(?:thinking|thoughts?|reasoning|analysis|scratchpad|internal \w+|chain of thought)\s*:\s*(?:(?:the|this) (?:user|client|customer)|user|"
            r"client|customer|I (?:need|should|must|have to|will)|we (?:need|should|must)|let me|okay,|ok,)",
            re.IGNORECASE | re.MULTILINE,
            "is a thought that was not to be said",
        ),
        (
            "_",
            r"(?<![\w/.-])(?:im_(?:start|end|sep)|eot_id|eom_id|(?:begin|start|end)_of_(?:text|turn|sentence|utterance|message|conversation|thought)|"
            r"(?:start|end)_header_id|fim_(?:prefix|middle|suffix|hole)|(?:tool|function)_(?:calls?|use|results?|response|input|output|code)|"
            r"(?:bos|eos|pad|unk|sep|cls|mask)_token)(?!\w)",
            re.IGNORECASE,
            "is a control token of a chat template",
        ),
        (
            "endoftext startoftext default_api functions. assistantfinal assistantcommentary to= /think /no_think oaicite turn0",
            r"\b(?:endoftext|startoftext|default_api\.\w+|functions\.\w+\s*\(|assistant(?:final|commentary)|to=functions\.|(?:commentary|assistant) to=\w+)|"
            r"(?<![\w/])/(?:no_)?think\b|oaicite|\bturn\d+(?:search|view|news|file)\d+",
            re.IGNORECASE,
            "is a leftover of tools or thinking",
        ),
        (
            "⏎thought ⏎action ⏎observation ⏎*",
            r"^\W*(?:Thought|Action|Observation)\W*:.*(?:\n.*)*?(?:^|\s)(?:Action(?: Input)?|Observation|Final Answer|Thought)\W*:|^\W*Action Input\W*:",
            re.MULTILINE,
            "is a protocol of tool use",
        ),
        (
            "tool␣ tool_ function_ function␣",
            r"^\W*(?:tool|function)[ _-](?:calls?|used?|uses|results?|response|output|input|name)\W*:",
            re.IGNORECASE | re.MULTILINE,
            "is a protocol of tool use",
        ),
        (
            "⏎#",
            r"^#{1,6}\s*(?:instructions?|input|response|output|human|assistant|user|system|question|answer|context|prompt|client|customer|end)\b\s*:?\s*"
            r"(?=$|\n|\S)",
            re.IGNORECASE | re.MULTILINE,
            "is the heading of a chat template",
        ),
        (
            "{{ {%",
            r"\{\{\s*[#~/>]\s*\w+|\{\{\s*(?:messages|bos_token|eos_token|content|role|system|user|assistant)\b",
            0,
            "is a part of a chat template",
        ),
        ("◁ ▷ ▁ ġ ċ 【 〗", r"◁/?\w+▷|▁\w|\w▁|Ġ[A-Za-z]|[a-z.]Ċ|【[^】]*】", 0, "is a leftover of a tokenizer or a tool"),
        (
            "⏎human: ⏎assistant: ⏎h: ⏎a: system: assistant⏎ user⏎ system⏎ model⏎ .␣assistant␣ .␣user␣ .␣system␣ .␣model␣ ?␣assistant␣ ?␣user␣ ?␣system␣ ?␣model␣ !␣assistant␣ !␣user␣",
            r"\n\s*\n\s*(?:Human|Assistant|H|A)\s*:|(?:^|[.!?…][\"'”’)]?\s+)(?:assistant|user|system|model)\s*(?:\n|\s(?=[A-Z]))|\bSYSTEM\s*:|^system\s*:\s*you are",
            0,
            "is the mark of a turn",
        ),
        (
            "eos bos <pad unk \\<",
            r"\\?<\W{0,3}(?:eos|bos|pad|unk|sep|cls)\W{0,3}>|\b(?:eos|bos|unk|pad)(?:\s+(?:eos|bos|unk|pad))+\b|(?<=[.!?]\s)(?:eos|bos)\s*$",
            0,
            "is a control token",
        ),
        (
            "begin_ end_ start_ begin␣conv begin␣trans begin␣dial end␣of␣conv end␣of␣turn end␣of␣trans end␣of␣dial end␣of␣resp end␣of␣output end␣of␣text end␣of␣mess end␣of␣prompt start␣of␣conv start␣of␣turn start␣of␣trans start␣of␣dial end␣conv end␣turn end␣trans end␣dial",
            r"\b(?:BEGIN|END|START)[_ ](?:OF[_ ])?(?:CONVERSATION|DIALOGUE?|TURN|TRANSCRIPT|MESSAGE|RESPONSE|OUTPUT|PROMPT|TEXT)\b",
            0,
            "is a mark of a data set",
        ),
        ("cite␣index", r"\bcite index=", 0, "is a leftover of a tool"),
        (
            "<а <е <о <р <с <у <х <і <к <т а е о с",
            r"</?[A-Za-z]*[\u0370-\u03ff\u0400-\u04ff][A-Za-z\u0370-\u03ff\u0400-\u04ff]*>",
            0,
            "is a tag in letters of another script",
        ),
        ("[/s [/p [s]", r"\[/?s\]", 0, "is a control token"),
        (
            '{"',
            r"\{\s*\"(?:tool|name|function|action|arguments|tool_name|command|api|recipient|parameters|thought)\"\s*:",
            0,
            "is a tool call",
        ),
        (
            "text: input: prompt: label: instruction:",
            r"\b(?:text|input|prompt|instruction)\s*:.*\b(?:label|output|completion|target|response)\s*:",
            re.IGNORECASE,
            "is a record of a data set",
        ),
        ("_", r"^[a-z]+_[a-z_]+\s*:", re.IGNORECASE, "is a field of a tool"),
        ("⏎thought:", r"^Thought\s*:\s", 0, "is a thought that was not to be said"),
        ("##", r"[a-z] ##[a-z]+\b", 0, "is a piece of a tokenizer's word"),
        (
            "```",
            r"```\s*(?:thinking|thought|tool\w*|function\w*|reasoning|scratchpad)",
            re.IGNORECASE,
            "is a block of tools or thinking",
        ),
    )
)


@scorer("control_tokens", version=1)
def control_tokens(conversation: Conversation, _context: ScoringContext) -> FilterVerdict:
    """Drops a conversation in which a control token, or a tag of tools or of thinking, stands as text."""
    return _PATTERNS.judge(conversation)
