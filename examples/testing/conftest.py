"""A pytest fixture: each test that asks for `gateway` gets a mock gateway of its own, on a free port, gone afterwards.

    def test_the_bot_answers(gateway):
        start_my_bot(gateway.url)
        gateway.wait_for_bot("my-bot")
        assert "hello" in gateway.say("my-bot", "hello")["reply"]
        assert gateway.call("GET", "/lint") == []  # nothing done against the rules

The command is taken from OPENWS_GATEWAY, by default `npx openws-gateway`.
"""

import json
import os
import shlex
import subprocess
import urllib.request
from urllib.parse import quote

import pytest


class Gateway:
    """A mock gateway that runs. `url` is where a bot connects."""

    def __init__(self, ready):
        self.url = ready["url"]
        self.api = ready["api"]

    def call(self, method, path, body=None):
        """Asks the API; raises urllib.error.HTTPError with the reason in its body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read().decode()
        return json.loads(text) if text else None

    def wait_for_bot(self, bot, wait="10s"):
        """Waits until the bot is subscribed."""
        answer = self.call("GET", f"/bots/{quote(bot, safe='')}?wait={wait}")
        assert answer["state"] == "subscribed", answer
        return answer

    def say(self, bot, text, user="zhangsan", wait="5s"):
        """A user says something; the answer has `reply`, `replies` and `delivered`."""
        message = {"from": {"userid": user}, "msgtype": "text", "text": {"content": text}}
        return self.call("POST", f"/bots/{quote(bot, safe='')}/messages?wait={wait}", message)


@pytest.fixture
def gateway():
    command = shlex.split(os.environ.get("OPENWS_GATEWAY", "npx openws-gateway"))
    flags = ["--json", "--listen", "127.0.0.1:0", "--latency", "0"]
    with subprocess.Popen(command + flags, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Gateway(json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(10)
