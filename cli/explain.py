"""NMEA 0183 sentences in words, by pynmea2. For people; nothing is decoded from it."""

from typing import Any

import pynmea2


def explained(raw: bytes) -> list[dict[str, Any]]:
    """Each sentence in `raw` with its type and its fields by name."""
    lines = raw.decode("ascii", "replace").replace("\r", "\n").split("\n")
    return [explain(line.strip()) for line in lines if line.strip()]


def explain(sentence: str) -> dict[str, Any]:
    try:
        message = pynmea2.parse(sentence)
    except (pynmea2.ParseError, ValueError, AttributeError) as error:
        return {"sentence": sentence, "problem": _reason(error)}
    said = {
        " ".join(title.split()): message.data[index]
        for index, (title, *_) in enumerate(message.fields)
        if index < len(message.data) and message.data[index] != ""
    }
    return {"sentence": sentence, "type": _kind(message), "fields": said}


def _kind(message: Any) -> str:
    talker = getattr(message, "talker", "") or getattr(message, "manufacturer", "")
    return f"{talker}{getattr(message, 'sentence_type', '')}"


def _reason(error: Exception) -> str:
    return str(error.args[0][0] if error.args and isinstance(error.args[0], tuple) else error)


def in_words(said: dict[str, Any]) -> str:
    """One explained sentence as lines of text."""
    if "problem" in said:
        return f"        {said['sentence']}\n            {said['problem']}"
    fields = "".join(f"\n            {name}: {value}" for name, value in said["fields"].items())
    return f"        {said['sentence']}{fields}"


def in_one_line(sentence: str) -> str:
    """A sentence with its fields named, on one line."""
    said = explain(sentence)
    if "problem" in said:
        return f"{sentence}: {said['problem']}"
    fields = "  ".join(f"{name}={value}" for name, value in said["fields"].items())
    return f"{said['type']:<8} {fields}"
