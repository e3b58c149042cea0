# A bot on wecom-aibot-sdk: echoes by stream, welcomes, reads images, uploads.
import asyncio
import hashlib
import os

from wecom_aibot_sdk import WSClient, generate_req_id


async def main():
    client = WSClient(
        bot_id=os.environ["WECOM_BOT_ID"],
        secret=os.environ["WECOM_BOT_SECRET"],
        ws_url=os.environ["WECOM_BOT_WS_URL"],
    )

    async def answer(frame, text):
        stream = generate_req_id("stream")
        await client.reply_stream(frame, stream, text[: len(text) // 2], False)
        await client.reply_stream(frame, stream, text, True)

    async def on_text(frame):
        content = frame["body"]["text"]["content"]
        if content.startswith("!upload "):
            data = bytes(int(content.split()[1]))
            uploaded = await client.upload_media(data, type="file", filename="zeros.bin")
            await client.reply_media(frame, "file", uploaded["media_id"])
        else:
            await answer(frame, "echo: " + content)

    async def on_image(frame):
        image = frame["body"]["image"]
        downloaded = await client.download_file(image["url"], image["aeskey"])
        await answer(frame, hashlib.sha256(downloaded["buffer"]).hexdigest())

    async def on_enter_chat(frame):
        await client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})

    client.on("message.text", on_text)
    client.on("message.image", on_image)
    client.on("event.enter_chat", on_enter_chat)
    await client.connect()
    await asyncio.Event().wait()


asyncio.run(main())
