"""What a test with the fixture looks like; with a bot of yours, start it on `gateway.url` first."""


def test_a_bot_that_is_not_there_hears_nothing(gateway):
    gateway.call("POST", "/bots", {"id": "my-bot", "secret": "s3cret"})
    told = gateway.say("my-bot", "anybody?")
    assert told["delivered"] is False
    assert told["reply"] is None


def test_each_gateway_is_fresh(gateway):
    assert gateway.call("GET", "/bots") == []
