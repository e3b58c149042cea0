"""What the bots on the Python clients share: their settings, and the words of the echo contract (docs/conformance.md)."""

import asyncio
import os
import signal
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


def keep(client, fresh, upload=None):
    """Keeps the echo contract on a client whose calls have the names of the official SDK's, and runs it until SIGTERM.

    `fresh` makes the id of a stream; `upload(frame, size)` answers with a file, where the client has such a thing.
    """

    async def on_text(frame):
        body = frame["body"]
        word, argument, text = words(body["text"]["content"])
        if word == "!stream":
            stream_id, said = fresh(), ""
            for at in range(1, int(argument) + 1):
                said += f"word{at} "
                await client.reply_stream(frame, stream_id, said, at == int(argument))
                await asyncio.sleep(0.15)
        elif word == "!push":
            chat = body.get("chatid") or body["from"]["userid"]
            await client.send_message(chat, {"msgtype": "markdown", "markdown": {"content": argument}})
        elif word == "!upload":
            if upload is not None:
                await upload(frame, int(argument))
        elif word == "!card":
            await client.reply_template_card(frame, card("Press the button"))
        elif word == "!fail":
            raise RuntimeError("this handler was asked to fail")
        elif word == "!slow":
            await asyncio.sleep(int(argument) / 1000)
            await client.reply_stream(frame, fresh(), f"that took {argument} ms", True)
        else:
            await client.reply_stream(frame, fresh(), f"echo: {text}", True)

    async def on_enter(frame):
        await client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})

    async def on_click(frame):
        task_id = frame["body"]["event"]["template_card_event"]["task_id"]
        await client.update_template_card(frame, card("You pressed it", task_id))

    client.on("message.text", on_text)
    client.on("event.enter_chat", on_enter)
    client.on("event.template_card_event", on_click)
    # Without a listener the emitter raises, and that ends the receive loop of the official SDK.
    client.on("error", lambda error: print("error:", error))
    asyncio.run(_until_sigterm(client))


async def _until_sigterm(client):
    ended = asyncio.Event()

    async def end():
        done = client.disconnect()
        if asyncio.iscoroutine(done):
            await done
        ended.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(end()))
    await client.connect()
    await ended.wait()
