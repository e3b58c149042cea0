"""A bot on wecom-aibot-sdk that keeps the echo contract as far as the client can.

What the client does by itself is left to it: no option is set but those that the lanes scale.
"""

import uuid

from wecom_aibot_sdk import WSClient

from contract import BOT_ID, SECRET, URL, durations, keep

client = WSClient(BOT_ID, SECRET, ws_url=URL, **durations())


async def upload(frame, size):
    uploaded = await client.upload_media(b"b" * size, type="file", filename="file.bin")
    await client.reply_media(frame, "file", uploaded["media_id"])


keep(client, lambda: f"stream-{uuid.uuid4().hex}", upload)
