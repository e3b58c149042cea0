"""verify.py SECRET ID TIMESTAMP SIGNATURE < BODY: exit code 0 where the stock library takes the delivery, 1 where it does not."""

import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

secret, id, timestamp, signature = sys.argv[1:]
headers = {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature}
try:
    Webhook(secret).verify(sys.stdin.buffer.read(), headers)
except WebhookVerificationError as why:
    print(why)
    sys.exit(1)
