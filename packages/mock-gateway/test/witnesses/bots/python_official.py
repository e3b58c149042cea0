"""The bot program of scenarios.ts on the official Python SDK, wecom-aibot-python-sdk."""

import asyncio
import os

from aibot import WSClient, WSClientOptions

from material import card, described

client = WSClient(
    WSClientOptions(
        bot_id=os.environ["WECOM_BOT_ID"],
        secret=os.environ["WECOM_BOT_SECRET"],
        ws_url=os.environ["WECOM_BOT_WS_URL"],
    )
)


def or_say(handle):
    async def handler(frame):
        try:
            await handle(frame)
        except Exception as error:
            await client.reply_stream(frame, "failure", f"failed: {error!r}", True)

    return handler


@client.on("message.text")
@or_say
async def on_text(frame):
    user = frame["body"]["from"]["userid"]
    word, _, rest = frame["body"]["text"]["content"].partition(" ")
    if word == "stream":
        await client.reply_stream(frame, "stream-1", rest[: len(rest) // 2], False)
        await client.reply_stream(frame, "stream-1", rest, True)
    elif word == "card":
        await client.reply_template_card(frame, card("approve?"))
    elif word == "push":
        await client.send_message(user, {"msgtype": "markdown", "markdown": {"content": "**pushed**"}})
    elif word == "file":
        if not hasattr(client, "upload_media"):
            await client.reply_stream(frame, "lacks", "this client has no upload", True)


@client.on("message.image")
@or_say
async def on_image(frame):
    image = frame["body"]["image"]
    clear, _filename = await client.download_file(image["url"], image["aeskey"])
    answer = described(clear)
    await client.reply_stream(frame, f"stream-{answer[:20]}", answer, True)


@client.on("event.enter_chat")
@or_say
async def on_enter_chat(frame):
    await client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})


@client.on("event.template_card_event")
@or_say
async def on_click(frame):
    await client.update_template_card(frame, card("approved"))


@client.on("event.disconnected_event")
def on_kicked(_frame):
    print("kicked")


# Without a listener the emitter raises, and that ends the client's receive loop.
@client.on("error")
def on_error(error):
    print("error:", error)


async def main():
    await client.connect()
    await asyncio.Event().wait()


asyncio.run(main())
