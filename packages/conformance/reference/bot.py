"""The reference bot: it keeps the echo contract of docs/conformance.md, on the same client as the testee.

    openws-conformance run --contract -- python3 bot.py
"""

import asyncio
import os
import signal

from answers import Bot, once
from gateway import Durations, Failed, fresh, log, text_at

SCALED = {"heartbeat_ms": "WECOM_HEARTBEAT_MS", "ack_ms": "WECOM_ACK_MS", "backoff_base_ms": "WECOM_BACKOFF_BASE_MS"}
MENTION = f"@{os.environ.get('WECOM_BOT_NAME', '')} "

running = set()


def do(work):
    """Handlers run side by side; what one of them meets is the end of it, and of nothing else (ROBUST-2)."""

    async def guarded():
        try:
            await work
        except Failed as failed:
            log(f"an answer was {failed.outcome}, errcode {failed.errcode}")

    task = asyncio.create_task(guarded())
    running.add(task)
    task.add_done_callback(running.discard)


def on_message(asked, body):
    if text_at(body, "msgtype") == "text":
        do(answer(asked, text_at(body, "text", "content") or ""))


async def answer(asked, text):
    if asked.chat.kind == "group":
        text = text.removeprefix(MENTION)
    word, _, argument = text.partition(" ")
    if word == "!stream":
        await bot.answer(asked, words(int(argument)))
    elif word == "!push":
        await bot.push_text(asked.chat, argument)
    elif word == "!upload":
        await send_file(asked, int(argument))
    elif word == "!card":
        await bot.reply(asked, {"msgtype": "template_card", "template_card": card("Press the button", fresh("card"))})
    elif word == "!fail":
        await bot.answer(asked, failing())
    elif word == "!slow":
        await asyncio.sleep(int(argument) / 1000)
        await bot.answer(asked, once(f"that took {argument} ms"))
    else:
        await bot.answer(asked, once(f"echo: {text}"))


async def words(count):
    """As fast as a model speaks."""
    said = ""
    for at in range(1, count + 1):
        said += f"word{at} "
        yield said
        if at < count:
            await asyncio.sleep(0.15)


async def failing():
    yield "I begin"
    await asyncio.sleep(0.1)
    raise RuntimeError("this handler was asked to fail")


async def send_file(asked, size):
    try:
        media_id = await bot.upload("file", "file.bin", bytes(size))
    except Failed:
        await bot.answer(asked, once("the upload failed"))
        return
    await bot.reply(asked, {"msgtype": "file", "file": {"media_id": media_id}})


def card(title, task_id):
    return {
        "card_type": "button_interaction",
        "main_title": {"title": title},
        "button_list": [{"text": "Press", "style": 1, "key": "press"}],
        "task_id": task_id,
    }


def on_event(asked, body):
    eventtype = text_at(body, "event", "eventtype")
    if eventtype == "enter_chat":
        do(bot.welcome(asked, "welcome"))
    elif eventtype == "template_card_event":
        do(bot.update(asked, card("You pressed it", text_at(body, "event", eventtype, "task_id"))))


durations = Durations(**{name: float(os.environ[key]) for name, key in SCALED.items() if key in os.environ})
bot = Bot(
    os.environ["WECOM_BOT_WS_URL"],
    os.environ["WECOM_BOT_ID"],
    os.environ["WECOM_BOT_SECRET"],
    durations,
    on_message,
    on_event,
)


async def main():
    asked_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_end.set)
    bot.start()
    # Refused or kicked it has nothing to wait for, and lives on all the same, as a service would.
    await asked_to_end.wait()
    await bot.stop()


asyncio.run(main())
