"""What the Python bot programs say (scenarios.ts)."""

import hashlib


def card(title):
    return {
        "card_type": "button_interaction",
        "main_title": {"title": title},
        "button_list": [{"text": "Approve", "key": "approve", "style": 1}],
        "task_id": "task-1",
    }


def parts():
    """The 1,300,000 bytes of parts.bin."""
    return bytes((7 * i + (i >> 8)) & 0xFF for i in range(1_300_000))


def described(clear):
    """The answer to an image."""
    return f"{hashlib.sha256(clear).hexdigest()} {len(clear)}"
