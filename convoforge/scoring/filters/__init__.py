"""The filters: what no training conversation may hold, a file each.

A filter is a scorer that gives a verdict: the first fault it finds, with the turn and the words, or `KEEP`. It sees one conversation,
reaches no network, and takes a fraction of a millisecond, as it is asked while a build goes on. A module is imported when its filter
sees its first conversation.
"""

from __future__ import annotations

from collections.abc import Mapping

FILTERS: Mapping[str, int] = {
    "empty_turns": 2,
    "control_tokens": 1,
    "broken_characters": 1,
    "speaker_labels": 6,
    "placeholders": 3,
    "markup": 1,
    "meta_talk": 5,
    "echo": 1,
    "refusals": 4,
    "languages": 4,
    "salad": 6,
    "broken_ends": 6,
    "loops": 2,
    "proportions": 1,
    "pii": 3,
    "contamination": 1,
    "insults": 5,
    "off_topic": 1,
}
"""The version of each of our filters, as its file has it, in the order in which they are asked: cheap ones first. It stands here too, so
that a plan or a status need not import them all, which takes a third of a second."""

LANGUAGES = frozenset(
    (
        "af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de diq dsb dty dv "
        "el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km "
        "kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl "
        "nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl "
        "tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo yue zh"
    ).split()
)
"""What `languages` tells apart. Of any other code it would drop every conversation."""

DEFAULT = tuple(name for name in FILTERS if name not in ("insults", "salad", "contamination", "off_topic"))
"""The filters that `default` stands for in a spec. `salad` finds four fifths of the labelled faults and takes 46 MB, `insults` half of
those that are covert, `off_topic` the coarse cases alone, and `contamination` needs files of the spec."""
