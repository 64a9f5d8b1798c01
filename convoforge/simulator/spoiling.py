"""Faults in what is said: answers of the right form that no training conversation may hold, as the filters find them."""

from __future__ import annotations

REFUSALS = (
    "I'm sorry, but I can't help with that request.",
    "I am unable to give advice on this. Please consult a licensed professional instead.",
)
ASIDES = (
    "As an AI language model, I do not have personal experience with this.",
    "Sure! Here is the conversation you asked for:",
)
ENDINGS = ("<|im_end|>", "[insert the client's name]", "Ã¼ber â€” 10 â‚¬", "Reach me at maria.keller@gmail.com.")


def spoil_turn(turns: list[dict[str, str]], seed: int) -> None:
    """Puts one fault into one of the assistant's turns; which, the seed decides."""
    said = [turn for turn in turns if turn["role"] == "assistant"]
    turn = said[seed // 16 % len(said)]
    match seed % 4:
        case 0:
            turn["content"] = REFUSALS[seed // 4 % len(REFUSALS)]
        case 1:
            turn["content"] = f"{ASIDES[seed // 4 % len(ASIDES)]} {turn['content']}"
        case 2:
            turn["content"] = f"{turn['content']} {ENDINGS[seed // 4 % len(ENDINGS)]}"
        case _:
            turns[-1]["content"] = turns[-1]["content"].rsplit(maxsplit=3)[0].rstrip(".,;:!?") + " because"
