"""A bot: what its application is handed, and everything it can say in return.

Decides how a text becomes frames, what is tried again after which refusal, and how much a chat is sent. What a message means
is for the application to know.
"""

import asyncio
import collections
import time

import media
from gateway import NOT_SUBSCRIBED, Connection, Failed, fresh, text_at

MAX_CONTENT_BYTES = 20_480
# The req_id is spent, or the stream is over: the answer has to be pushed.
BARRED = {846604, 846605, 846608}
NEEDS_MARKDOWN = {600039, 40008}
FILTERED = 40201
CHAT_IS_FULL = 846607
BUSY = {-1, 6000}
BUSY_WAITS = (0.2, 0.4, 0.8)

APOLOGY = "Sorry, something went wrong."
NOTHING_VISIBLE = "…"

RESPOND = "aibot_respond_msg"
PUSH = "aibot_send_msg"

Chat = collections.namedtuple("Chat", "id kind")
Asked = collections.namedtuple("Asked", "req_id chat at")
"""Who asked, under which req_id, and when."""


class Bot:
    """A bot over one connection. `on_message` and `on_event` take (asked, body); neither may block."""

    # The gateway takes the answer to an event for five seconds, in every lane; so much of it is for the way.
    EVENT_SECONDS = 4.8
    REMEMBERED = 10_000

    def __init__(self, url, bot_id, secret, durations, on_message, on_event):
        self.durations = durations
        self.on_message = on_message
        self.on_event = on_event
        self.connection = Connection(url, bot_id, secret, durations, self._take)
        self.bubbles = set()
        self._seen = collections.OrderedDict()
        self._allowances = collections.OrderedDict()
        self._background = set()

    def start(self):
        self.connection.start()

    async def stop(self):
        """Finishes what is open (ROBUST-3b), and ends."""
        writing = [bubble.over_now() for bubble in self.bubbles]
        if writing and self.connection.line is not None:
            # Durations told for a test do not make the machine quicker: the floor is what a busy one takes for two acks.
            await asyncio.wait(writing, timeout=max(3 * self.durations.second, 1.5))
        for task in [*writing, *self._background]:
            task.cancel()
        await self.connection.stop()

    # --- what comes in ----------------------------------------------------------------------------------------------------

    def _take(self, cmd, req_id, body):
        hand_over = {"aibot_msg_callback": self.on_message, "aibot_event_callback": self.on_event}.get(cmd)
        if hand_over is None or self._known(text_at(body, "msgid")):
            return
        userid, chatid = text_at(body, "from", "userid"), text_at(body, "chatid")
        kind = body.get("chattype")
        if kind not in ("single", "group"):
            kind = "group" if chatid else "single"
        # A single chat has no chatid: the user is the conversation (IN-3).
        chat = Chat((chatid if kind == "group" else userid) or "", kind)
        hand_over(Asked(req_id, chat, time.monotonic()), body)

    def _known(self, msgid):
        """The same message may come again, also after a reconnect (IN-1b); the memory for that has an end (IN-2)."""
        if msgid is None:
            return False
        known = msgid in self._seen
        self._seen[msgid] = None
        if len(self._seen) > self.REMEMBERED:
            self._seen.popitem(last=False)
        return known

    # --- what goes out ----------------------------------------------------------------------------------------------------

    async def answer(self, asked, texts, feedback_id=None):
        """Answers by a stream. `texts` yields the whole text so far, again and again; where it raises, the stream ends."""
        bubble = Bubble(self, asked, feedback_id)
        self.bubbles.add(bubble)
        listening = asyncio.create_task(bubble.listen(texts))
        try:
            return await bubble.written
        finally:
            listening.cancel()
            self.bubbles.discard(bubble)

    async def reply(self, asked, body):
        """Answers with a body of another kind: a card, a file, markdown. By a push where the req_id is spent."""
        await self.connection.ready()
        try:
            await self.deliver(asked.chat, RESPOND, asked.req_id, body)
        except Failed as failed:
            if failed.errcode not in BARRED:
                raise
            await self.push(asked.chat, body)

    async def push(self, chat, body):
        """Sends a message of the bot's own. While there is no line it fails at once (PUSH-3a)."""
        if self.connection.line is None:
            raise Failed("not-sent", reason=self.connection.state)
        addressed = {"chatid": chat.id, "chat_type": 1 if chat.kind == "single" else 2, **body}
        await self.deliver(chat, PUSH, fresh("push"), addressed)

    async def push_text(self, chat, text):
        """Pushes a text as markdown (PUSH-5), in as many messages as it takes."""
        for part in parts(text):
            await self.push(chat, {"msgtype": "markdown", "markdown": {"content": part}})

    async def upload(self, kind, filename, data):
        return await media.upload(self.connection, kind, filename, data)

    async def welcome(self, asked, text):
        body = {"msgtype": "text", "text": {"content": sayable(text)}}
        await self._in_time(asked, "aibot_respond_welcome_msg", body)

    async def update(self, asked, card):
        body = {"response_type": "update_template_card", "template_card": card}
        await self._in_time(asked, "aibot_respond_update_msg", body)

    async def _in_time(self, asked, cmd, body):
        if time.monotonic() - asked.at > self.EVENT_SECONDS:
            raise Failed("not-sent", reason="it is too late")
        await self.connection.request(cmd, asked.req_id, body)

    async def deliver(self, chat, cmd, req_id, body):
        """Sends one frame that must arrive: again after each refusal that is of the moment, and after no other."""
        allowance = self.allowance(chat)
        waits = list(BUSY_WAITS)
        rests, resubscribed = 0, False
        while True:
            await allowance.take()
            try:
                return await self.connection.request(cmd, req_id, body)
            except Failed as failed:
                if failed.errcode in BUSY and waits:
                    await asyncio.sleep(waits.pop(0) * self.durations.second)
                elif failed.errcode == CHAT_IS_FULL and rests < 4:
                    rests += 1
                    allowance.rest()
                elif failed.errcode == NOT_SUBSCRIBED and not resubscribed:
                    resubscribed = True
                    await self.connection.ready()
                else:
                    raise

    def allowance(self, chat):
        """What the chat may still be sent. Chats that were silent longest are forgotten first."""
        allowance = self._allowances.setdefault(chat, None) or Allowance(self.durations.second)
        self._allowances[chat] = allowance
        self._allowances.move_to_end(chat)
        if len(self._allowances) > 1_000:
            self._allowances.popitem(last=False)
        return allowance

    def later(self, work):
        """Does something that nobody waits for."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @property
    def counts(self):
        line = self.connection.line
        return {
            "tasks": len(asyncio.all_tasks()),
            "lanes": len(line.lanes) if line is not None else 0,
            "bubbles": len(self.bubbles),
            "allowances": len(self._allowances),
            "msgids": len(self._seen),
        }


class Allowance:
    """What one chat is sent: 30 messages a minute and 1,000 an hour (PUSH-7), and nothing while it rests (REPLY-5c)."""

    A_MINUTE, AN_HOUR = 30, 1_000
    # The gateway's, in every lane, and a second for what arrives sooner than what came before it.
    MINUTE, HOUR = 61, 3_601
    # The refreshes of streams leave room for what must arrive.
    KEPT = 10

    def __init__(self, second):
        self.resting = 61 * second
        self.sent = collections.deque(maxlen=self.AN_HOUR)
        self.rests_until = 0.0
        self._turn = asyncio.Lock()

    def rest(self):
        self.rests_until = time.monotonic() + self.resting

    def pause(self, kept=0):
        """Seconds until another message may go; 0 if it may go now."""
        until = self.rests_until
        for limit, window in ((self.A_MINUTE, self.MINUTE), (self.AN_HOUR, self.HOUR)):
            if len(self.sent) >= limit - kept:
                until = max(until, self.sent[kept - limit] + window)
        return max(0.0, until - time.monotonic())

    def count(self):
        self.sent.append(time.monotonic())

    async def take(self):
        """Waits until a message may go, each in its turn, and counts it."""
        async with self._turn:
            while (pause := self.pause()) > 0:
                await asyncio.sleep(pause)
            self.count()


class Bubble:
    """One stream: a text that grows, sent as fast as acks come and no faster; in between only the newest counts."""

    # Ten minutes after its first frame a stream is over; before that the text goes on elsewhere (STREAM-5).
    HAND_OVER_SECONDS = 9 * 60

    def __init__(self, bot, asked, feedback_id):
        self.bot = bot
        self.asked = asked
        self.id = fresh("stream")
        # Thumbs appear under no other name (STREAM-8b).
        self.feedback_id = trace_of(feedback_id) if feedback_id else None
        self.text = ""
        self.failed = False
        # How much of the text stands in a message that is finished.
        self.settled = 0
        self.opened_at = None
        self.barred = self.sealed = self.quiet = self.filtered = False
        self.stumbles = list(BUSY_WAITS)
        self._shown = None
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self.written = asyncio.create_task(self._write())

    async def listen(self, texts):
        try:
            async for text in texts:
                self.text = sayable(text)
                self._news.set()
        except Exception:  # noqa: BLE001 -- whatever the handler raises, the stream is finished (STREAM-2b)
            self.failed = True
        self.over_now()

    def over_now(self):
        """Nothing more is coming. Returns the task that writes the rest."""
        self._over.set()
        self._news.set()
        return self.written

    async def _write(self):
        while not self._over.is_set():
            if self._until_hand_over() == 0:
                await self._hand_over()
            await self._first(self._news)
            self._news.clear()
            if not self._over.is_set() and not (self.quiet or self.barred or self.sealed) and self.text != self._shown:
                await self._refresh()
        await self._finish()

    def _until_hand_over(self):
        if self.opened_at is None or self.barred or self.sealed:
            return None
        over = self.opened_at + self.HAND_OVER_SECONDS * self.bot.durations.second
        return max(0.0, over - time.monotonic())

    async def _refresh(self):
        await self.bot.connection.ready()
        allowance = self.bot.allowance(self.asked.chat)
        if (pause := allowance.pause(Allowance.KEPT)) > 0:
            return await self._wait(pause)
        allowance.count()
        text = self.text
        try:
            await self._request(self._frame(parts(text)[0], finish=False))
            self._shown = text
        except Failed as failed:
            await self._met(failed)

    async def _met(self, failed):
        """What a refresh met. The next one carries the whole text anyway."""
        if failed.errcode in BARRED:
            self.barred = True
        elif failed.errcode in BUSY and self.stumbles:
            await self._wait(self.stumbles.pop(0) * self.bot.durations.second)
        elif failed.errcode == NOT_SUBSCRIBED or failed.outcome in ("connection-lost", "not-sent"):
            # On the next line, under the old req_id (STREAM-7a).
            self._news.set()
        elif failed.outcome == "refused":
            if failed.errcode == CHAT_IS_FULL:
                self.bot.allowance(self.asked.chat).rest()
            self.filtered = failed.errcode == FILTERED
            self.quiet = True

    async def _wait(self, seconds):
        """Lets the newest text wait, unless it turns out to be the last."""
        self._news.set()
        await self._first(self._over, seconds)

    async def _first(self, event, seconds=float("inf")):
        """Waits for an event, so many seconds at most, and not beyond the hand-over."""
        until_hand_over = self._until_hand_over()
        if until_hand_over is not None:
            seconds = min(seconds, until_hand_over)
        try:
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                await event.wait()
        except TimeoutError:
            pass

    async def _hand_over(self):
        """Finishes the bubble with what is there; what follows is pushed when it is complete."""
        text = self.text
        await self._seal(parts(text)[0])
        self.sealed = True
        self.settled = len(parts(text)[0]) if text.strip() else 0

    async def _finish(self):
        if self.failed and not self.text.strip():
            self.text = APOLOGY
        if self.filtered:
            if self._shown is not None:
                await self._seal(APOLOGY)
            raise Failed("refused", FILTERED)
        rest = self.text[self.settled :]
        if self.barred or self.sealed:
            return await self.bot.push_text(self.asked.chat, rest) if rest.strip() else None
        head = parts(rest)[0]
        await self._seal(head)
        if self.barred:
            return await self.bot.push_text(self.asked.chat, rest)
        if len(rest) > len(head):
            await self.bot.push_text(self.asked.chat, rest[len(head) :])

    async def _seal(self, text):
        """Sends the finishing frame, over as many lines as it takes: it replaces itself."""
        visible = text if text.strip() else NOTHING_VISIBLE
        while True:
            line = await self.bot.connection.ready()
            try:
                return await self.deliver(self._frame(visible, finish=True))
            except Failed as failed:
                if failed.errcode in BARRED:
                    self.barred = True
                    return None
                if failed.errcode in NEEDS_MARKDOWN:
                    return await self.deliver({"msgtype": "markdown", "markdown": {"content": visible}})
                if failed.outcome == "timed-out":
                    self.bot.later(self._doubt(line, visible))
                if failed.outcome not in ("connection-lost", "not-sent"):
                    raise

    async def _doubt(self, line, text):
        """No ack came. If that was because the line is dead, the text did not arrive either."""
        try:
            async with asyncio.timeout(60 * self.bot.durations.second):
                await line.ended.wait()
        except TimeoutError:
            return
        try:
            await self._seal(text)
            if self.barred:
                await self.bot.push_text(self.asked.chat, text)
        except Failed:
            pass

    def _frame(self, content, finish):
        stream = {"id": self.id, "finish": finish, "content": content}
        if self.opened_at is None:
            self.opened_at = time.monotonic()
            if self.feedback_id:
                stream["feedback"] = {"id": self.feedback_id}
        return {"msgtype": "stream", "stream": stream}

    def _request(self, body):
        return self.bot.connection.request(RESPOND, self.asked.req_id, body)

    def deliver(self, body):
        return self.bot.deliver(self.asked.chat, RESPOND, self.asked.req_id, body)


def trace_of(feedback_id):
    """The name under which thumbs are shown, within 256 bytes (STREAM-8a)."""
    return f"trace_{feedback_id.removeprefix('trace_')}".encode()[:256].decode(errors="ignore")


def sayable(text):
    """A text that UTF-8 can hold: without halves of characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def parts(text):
    """A text in parts that a message can hold, cut between characters (STREAM-3b). An empty text has one part."""
    data = sayable(text).encode()
    found = []
    while len(data) > MAX_CONTENT_BYTES:
        part = data[:MAX_CONTENT_BYTES].decode(errors="ignore")
        found.append(part)
        data = data[len(part.encode()) :]
    return [*found, data.decode()]


async def once(text):
    """A text that is there at once."""
    yield text
