"""A bot on the official Python SDK, wecom-aibot-python-sdk, that keeps the echo contract as far as the SDK can.

What the SDK does by itself is left to it: no option is set but those that the lanes scale. It hands a TLS context to every
dial, also of ws://, which no gateway without TLS survives: that alone is taken off here.
"""

import asyncio
import signal

import aibot.ws
from aibot import WSClient, WSClientOptions, generate_req_id

from contract import BOT_ID, SECRET, URL, card, durations, words

aibot.ws._SSL_CONTEXT = None

client = WSClient(WSClientOptions(bot_id=BOT_ID, secret=SECRET, ws_url=URL, **durations()))


@client.on("message.text")
async def on_text(frame):
    body = frame["body"]
    word, argument, text = words(body["text"]["content"])
    if word == "!stream":
        stream_id, said = generate_req_id("stream"), ""
        for at in range(1, int(argument) + 1):
            said += f"word{at} "
            await client.reply_stream(frame, stream_id, said, at == int(argument))
            await asyncio.sleep(0.15)
    elif word == "!push":
        chat = body.get("chatid") or body["from"]["userid"]
        await client.send_message(chat, {"msgtype": "markdown", "markdown": {"content": argument}})
    elif word == "!card":
        await client.reply_template_card(frame, card("Press the button"))
    elif word == "!fail":
        raise RuntimeError("this handler was asked to fail")
    elif word == "!slow":
        await asyncio.sleep(int(argument) / 1000)
        await client.reply_stream(frame, generate_req_id("stream"), f"that took {argument} ms", True)
    elif word != "!upload":
        # The SDK has no upload.
        await client.reply_stream(frame, generate_req_id("stream"), f"echo: {text}", True)


@client.on("event.enter_chat")
async def on_enter(frame):
    await client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})


@client.on("event.template_card_event")
async def on_click(frame):
    task_id = frame["body"]["event"]["template_card_event"]["task_id"]
    await client.update_template_card(frame, card("You pressed it", task_id))


# Without a listener the emitter raises, and that ends the SDK's receive loop.
@client.on("error")
def on_error(error):
    print("error:", error)


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
