"""A bot on wecom-aibot-sdk that keeps the echo contract as far as the client can.

What the client does by itself is left to it: no option is set but those that the lanes scale.
"""

import asyncio
import signal
import uuid

from wecom_aibot_sdk import WSClient

from contract import BOT_ID, SECRET, URL, card, durations, words

client = WSClient(BOT_ID, SECRET, ws_url=URL, **durations())


async def on_text(frame):
    body = frame["body"]
    word, argument, text = words(body["text"]["content"])
    stream_id = f"stream-{uuid.uuid4().hex}"
    if word == "!stream":
        said = ""
        for at in range(1, int(argument) + 1):
            said += f"word{at} "
            await client.reply_stream(frame, stream_id, said, at == int(argument))
            await asyncio.sleep(0.15)
    elif word == "!push":
        chat = body.get("chatid") or body["from"]["userid"]
        await client.send_message(chat, {"msgtype": "markdown", "markdown": {"content": argument}})
    elif word == "!upload":
        uploaded = await client.upload_media(b"b" * int(argument), type="file", filename="file.bin")
        await client.reply_media(frame, "file", uploaded["media_id"])
    elif word == "!card":
        await client.reply_template_card(frame, card("Press the button"))
    elif word == "!fail":
        raise RuntimeError("this handler was asked to fail")
    elif word == "!slow":
        await asyncio.sleep(int(argument) / 1000)
        await client.reply_stream(frame, stream_id, f"that took {argument} ms", True)
    else:
        await client.reply_stream(frame, stream_id, f"echo: {text}", True)


async def on_enter(frame):
    await client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})


async def on_click(frame):
    task_id = frame["body"]["event"]["template_card_event"]["task_id"]
    await client.update_template_card(frame, card("You pressed it", task_id))


client.on("message.text", on_text)
client.on("event.enter_chat", on_enter)
client.on("event.template_card_event", on_click)
client.on("error", lambda error: print("error:", error))


async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(end()))
    await client.connect()
    await ended.wait()


async def end():
    done = client.disconnect()
    if asyncio.iscoroutine(done):
        await done
    ended.set()


ended = asyncio.Event()
asyncio.run(main())
