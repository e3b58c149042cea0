"""The bot program of scenarios.ts on wecom-aibot-sdk."""

import asyncio
import os

from wecom_aibot_sdk import WSClient

from material import card, described, parts

client = WSClient(
    os.environ["WECOM_BOT_ID"],
    os.environ["WECOM_BOT_SECRET"],
    ws_url=os.environ["WECOM_BOT_WS_URL"],
)


def or_say(handle):
    async def handler(frame):
        try:
            await handle(frame)
        except Exception as error:
            await client.reply_stream(frame, "failure", f"failed: {error!r}", True)

    return handler


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
        uploaded = await client.upload_media(parts(), type="file", filename="parts.bin")
        await client.send_media_message(user, "file", uploaded["media_id"])


@or_say
async def on_image(frame):
    image = frame["body"]["image"]
    file = await client.download_file(image["url"], image["aeskey"])
    answer = described(file["buffer"])
    await client.reply_stream(frame, f"stream-{answer[:20]}", answer, True)


client.on("message.text", on_text)
client.on("message.image", on_image)
client.on(
    "event.enter_chat",
    or_say(lambda frame: client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})),
)
client.on(
    "event.template_card_event",
    or_say(lambda frame: client.update_template_card(frame, card("approved"))),
)
client.on("event.disconnected_event", lambda _frame: print("kicked"))


async def main():
    await client.connect()
    await asyncio.Event().wait()


asyncio.run(main())
