"""How one result of a batch is written, whole or with a fault that people have met in the results of real batches."""

from __future__ import annotations

from typing import Any

import orjson

from convoforge.simulator.wire import HTML


def write_line(custom_id: str, result: dict[str, Any], kind: str) -> bytes:
    """The line or lines of one result, each with its line feed; nothing where it is missing."""
    whole = orjson.dumps({"custom_id": custom_id, "result": result})
    written = {
        "line_cut": whole[: len(whole) // 2],
        "line_stub": whole[:14],
        "line_half_character": whole.replace(b'\\"content\\":\\"', b'\\"content\\":\\"\\ud83d', 1),
        "line_bom": b"\xef\xbb\xbf" + whole,
        "line_nan": whole[:-1] + b',"score":NaN}',
        "line_event": b'{"event":"keepalive"}',
        "line_nameless": orjson.dumps({"result": result}),
        "line_stranger": orjson.dumps({"custom_id": "nobody", "result": result}),
        "line_twice": whole + b"\n" + whole,
        "line_html": HTML.replace("><", ">\n<").encode(),
        "line_missing": b"",
        "line_unknown_type": orjson.dumps({"custom_id": custom_id, "result": {"type": "deferred"}}),
    }.get(kind, whole)
    return written and written + b"\n"
