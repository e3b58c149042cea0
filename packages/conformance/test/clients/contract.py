"""What the bots on the Python clients share: their settings, and the words of the echo contract (docs/conformance.md)."""

import os
import uuid

BOT_ID = os.environ["WECOM_BOT_ID"]
SECRET = os.environ["WECOM_BOT_SECRET"]
URL = os.environ["WECOM_BOT_WS_URL"]


def durations():
    """The options that the lanes scale, under the names that all three clients have."""
    names = {
        "heartbeat_interval": "WECOM_HEARTBEAT_MS",
        "request_timeout": "WECOM_ACK_MS",
        "reconnect_interval": "WECOM_BACKOFF_BASE_MS",
    }
    return {option: round(float(os.environ[name])) for option, name in names.items() if name in os.environ}


def words(content):
    """The first word, the rest, and the text; without the mention that every text of a group begins with."""
    mention = f"@{os.environ.get('WECOM_BOT_NAME', '')} "
    text = content.removeprefix(mention)
    word, _, argument = text.partition(" ")
    return word, argument, text


def card(title, task_id=None):
    return {
        "card_type": "button_interaction",
        "main_title": {"title": title},
        "button_list": [{"text": "Press", "key": "press", "style": 1}],
        "task_id": task_id or f"task-{uuid.uuid4().hex}",
    }
