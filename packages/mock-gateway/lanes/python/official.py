# A bot on wecom-aibot-python-sdk, the official one: echoes by stream, welcomes, reads images.
import asyncio
import hashlib
import os

from aibot import WSClient, WSClientOptions, generate_req_id

client = WSClient(
    WSClientOptions(
        bot_id=os.environ["WECOM_BOT_ID"],
        secret=os.environ["WECOM_BOT_SECRET"],
        ws_url=os.environ["WECOM_BOT_WS_URL"],
    )
)


async def answer(frame, text):
    stream = generate_req_id("stream")
    await client.reply_stream(frame, stream, text[: len(text) // 2], False)
    await client.reply_stream(frame, stream, text, True)


@client.on("message.text")
async def on_text(frame):
    await answer(frame, "echo: " + frame["body"]["text"]["content"])


@client.on("message.image")
async def on_image(frame):
    image = frame["body"]["image"]
    data, _name = await client.download_file(image["url"], image["aeskey"])
    await answer(frame, hashlib.sha256(data).hexdigest())


@client.on("event.enter_chat")
async def on_enter_chat(frame):
    await client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})


# Without a listener the emitter raises, and the SDK's receive loop ends.
@client.on("error")
def on_error(error):
    print("error:", error, flush=True)


async def main():
    await client.connect()
    await asyncio.Event().wait()


asyncio.run(main())
