"""The same receiver on Flask, with nothing but the standard library for the signature.

    pip install flask
    WEBHOOK_SECRET=whsec_… PORT=9000 python examples/webhooks/flask_receiver.py
"""

import hashlib
import hmac
import json
import os
import queue
import threading
import time
from collections import OrderedDict

from flask import Flask, request

SECRET = os.environ["WEBHOOK_SECRET"]
REMEMBERED_IDS = int(os.environ.get("REMEMBERED_IDS", "10000"))
TOLERANCE_S = 300

app = Flask(__name__)
seen: "OrderedDict[str, None]" = OrderedDict()
MAX_WAITING = int(os.environ.get("MAX_WAITING", "1000"))
waiting: "queue.Queue[dict]" = queue.Queue()
lock = threading.Lock()


def is_genuine(timestamp: str, body: bytes, signature: str) -> bool:
    """Whether the signature is the lower-case hex HMAC-SHA256 of timestamp, colon and raw body, and fresh."""
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    expected = hmac.new(SECRET.encode(), timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


@app.post("/webhook")
def receive():
    body = request.get_data()  # the raw bytes: parsed and dumped again they have another signature
    timestamp = request.headers.get("X-Webhook-Timestamp", "")
    if not is_genuine(timestamp, body, request.headers.get("X-Webhook-Signature", "")):
        return "the signature does not fit, or is too old", 401
    try:
        delivery = json.loads(body)
        message_id = delivery["msgId"]
    except (ValueError, KeyError, TypeError):
        return "not JSON with a msgId", 400
    with lock:
        if message_id in seen:
            return "seen before", 200
        if waiting.qsize() >= MAX_WAITING:
            return "come back later", 503, {"Retry-After": "5"}
        waiting.put(delivery)
        seen[message_id] = None
        if len(seen) > REMEMBERED_IDS:
            seen.popitem(last=False)
    return {"reply": {"markdown": f"got it: {json.dumps(delivery['content'], ensure_ascii=False)}"}}


def work() -> None:
    while True:
        delivery = waiting.get()
        print(delivery["msgId"], "from", delivery["fromUser"], flush=True)


if __name__ == "__main__":
    threading.Thread(target=work, daemon=True).start()
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "9000")))
