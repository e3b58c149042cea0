"""A bot on the official Python SDK, wecom-aibot-python-sdk, that keeps the echo contract as far as the SDK can.

What the SDK does by itself is left to it: no option is set but those that the lanes scale. It hands a TLS context to every
dial, also of ws://, which no gateway without TLS survives: that alone is taken off here. It has no upload.
"""

import aibot.ws
from aibot import WSClient, WSClientOptions, generate_req_id

from contract import BOT_ID, SECRET, URL, durations, keep

aibot.ws._SSL_CONTEXT = None

keep(
    WSClient(WSClientOptions(bot_id=BOT_ID, secret=SECRET, ws_url=URL, **durations())),
    lambda: generate_req_id("stream"),
)
