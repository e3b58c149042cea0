"""The reference testee: a client in the hands of the suite. TESTEE.md of @openws/conformance is the protocol.

    openws-conformance run --tier testee -- python3 testee.py
"""

import asyncio
import collections
import gc
import json
import sys
import threading

import media
from answers import Bot, Chat, once
from gateway import Durations, Failed, fresh, log, member, text_at

HELLO = {
    "hello": 1,
    "client": "reference client",
    "can": [
        "stream",
        "throw",
        "card",
        "file",
        "feedback",
        "push",
        "upload",
        "download",
        "events",
        "welcome",
        "update",
        "items",
        "quote",
        "conversation",
        "outcomes",
        "state",
        "census",
    ],
    "scaled": True,
}

MEDIA = ("image", "file", "video", "voice")


def say(line):
    print(json.dumps(line), flush=True)


Turn = collections.namedtuple("Turn", "asked items")
"""A message or event that operations may name."""


class Testee:
    REMEMBERED = 10_000

    def __init__(self):
        self.bot = None
        self.bot_name = self.folder = ""
        self.turns = collections.OrderedDict()
        self.keys = 0

    # --- what the client hands over ---------------------------------------------------------------------------------------

    def on_message(self, asked, body):
        msgtype = text_at(body, "msgtype") or ""
        items = items_of(body, msgtype)
        report = {
            "event": "message",
            "key": self._keep(asked, items),
            "msgtype": msgtype,
            "chattype": asked.chat.kind,
            "text": self._without_mention(asked, text_of(body, msgtype)),
            "conversation": f"{asked.chat.kind} {asked.chat.id}",
            **who(asked, body),
        }
        if items:
            report["items"] = items
        if quoted := text_at(body, "quote", "msgtype"):
            quote = body["quote"]
            report["quote"] = {"msgtype": quoted, "text": text_of(quote, quoted), "items": items_of(quote, quoted)}
        say(report)

    def on_event(self, asked, body):
        eventtype = text_at(body, "event", "eventtype")
        if eventtype is None:
            return
        report = {"event": "event", "key": self._keep(asked, []), "eventtype": eventtype, **who(asked, body)}
        click = member(body, "event", "template_card_event")
        if eventtype == "template_card_event" and click is not None:
            report["eventKey"] = text_at(click, "event_key")
            report["taskId"] = text_at(click, "task_id")
            report["selected"] = selected_of(click)
        say(report)

    def _keep(self, asked, items):
        self.keys += 1
        key = str(self.keys)
        self.turns[key] = Turn(asked, items)
        if len(self.turns) > self.REMEMBERED:
            self.turns.popitem(last=False)
        return key

    def _without_mention(self, asked, text):
        """In a group every text begins with the mention, and that one alone is taken off (IN-15b)."""
        if text is None or asked.chat.kind == "single":
            return text
        return text.removeprefix(f"@{self.bot_name} ")

    # --- what is asked of it ----------------------------------------------------------------------------------------------

    async def start(self, op):
        durations = Durations(op.get("heartbeatMs", 30_000), op.get("ackMs", 10_000), op.get("backoffBaseMs", 1_000))
        self.bot_name, self.folder = op["botName"], op["dir"]
        self.bot = Bot(op["url"], op["botId"], op["secret"], durations, self.on_message, self.on_event)
        self.bot.start()
        return done()

    async def stop(self, _op=None):
        if self.bot is not None:
            await self.bot.stop()
        return done()

    async def reply(self, op):
        asked = self.turns[op["to"]].asked
        if op.get("nothing"):
            return done()
        if "throw" in op:
            await self.bot.answer(asked, growing([], 0, failing=True))
            return acked()
        if "card" in op:
            await self.bot.reply(asked, card_body(op["card"]))
            return acked()
        feedback_id = op.get("feedbackId")
        if "parts" in op:
            texts = growing(op["parts"], op.get("everyMs", 0), failing=op.get("then") == "throw")
            await self.bot.answer(asked, texts, feedback_id)
        if "text" in op:
            await self.bot.answer(asked, once(op["text"]), feedback_id)
        if "file" in op:
            # After the text, which arrives whatever becomes of the file (UPLOAD-12).
            await self.bot.reply(asked, await self._file_body(op["file"]))
        return acked()

    async def push(self, op):
        chat = Chat(op["chatid"], op["chattype"])
        if "text" in op:
            await self.bot.push_text(chat, op["text"])
        elif "card" in op:
            await self.bot.push(chat, card_body(op["card"]))
        else:
            await self.bot.push(chat, await self._file_body(op["file"]))
        return acked()

    async def upload(self, op):
        media_id = await self.bot.upload(op["type"], op["filename"], bytes(op["sizeBytes"]))
        return acked() | {"mediaId": media_id}

    async def download(self, op):
        item = self.turns[op["to"]].items[op["item"]]
        patience = 30 * self.bot.durations.second + 2
        sha256, filename, path = await media.download(item["url"], item["aeskey"], self.folder, patience)
        return done() | {"sha256": sha256, "filename": filename, "path": path}

    async def welcome(self, op):
        await self.bot.welcome(self.turns[op["to"]].asked, op["text"])
        return acked()

    async def update(self, op):
        await self.bot.update(self.turns[op["to"]].asked, op["card"])
        return acked()

    async def state(self, _op):
        connection = self.bot.connection
        refused = connection.state == "refused"
        return done() | {"state": connection.state, "errcode": connection.errcode if refused else None}

    async def census(self, _op):
        gc.collect()
        # Blocks of Python's allocator are small, and there are many: only the order of their number is steady.
        heap = sys.getallocatedblocks() * 64
        return done() | {"counts": {**self.bot.counts, "heapBytes": heap, "turns": len(self.turns)}}

    async def _file_body(self, file):
        kind = file["type"]
        media_id = await self.bot.upload(kind, file["filename"], bytes(file["sizeBytes"]))
        return {"msgtype": kind, kind: {"media_id": media_id}}


def done():
    return {"outcome": "done"}


def acked():
    return {"outcome": "acked"}


def card_body(card):
    return {"msgtype": "template_card", "template_card": {**card, "task_id": fresh("card")}}


async def growing(added, every_ms, failing=False):
    """The whole text so far, after each part."""
    said = ""
    for part in added:
        await asyncio.sleep(every_ms / 1000)
        said += part
        yield said
    if failing:
        raise RuntimeError("this handler was asked to fail")


def who(asked, body):
    about = {"msgid": text_at(body, "msgid"), "userid": text_at(body, "from", "userid")}
    return about | ({"chatid": asked.chat.id} if asked.chat.kind == "group" else {})


def text_of(body, msgtype):
    """What was said: of a voice message its transcript."""
    return text_at(body, msgtype, "content") if msgtype in ("text", "voice") else None


def items_of(body, msgtype):
    """The pieces of a message, in their order, each with its own key (IN-10a)."""
    if msgtype == "mixed":
        pieces = member(body, "mixed", "msg_item")
        return [item for piece in (pieces if isinstance(pieces, list) else []) for item in piece_of(piece)]
    return piece_of(body) if msgtype in MEDIA and msgtype != "voice" else []


def piece_of(piece):
    kind = text_at(piece, "msgtype")
    if kind == "text":
        return [{"type": "text", "text": text_at(piece, "text", "content") or ""}]
    if kind not in MEDIA:
        return []
    return [{"type": kind, "url": text_at(piece, kind, "url"), "aeskey": text_at(piece, kind, "aeskey")}]


def selected_of(click):
    """From question to the ids chosen: nested as deep as the gateway nests it (EVENT-3)."""
    items = member(click, "selected_items", "selected_item")
    return {
        text_at(item, "question_key") or "": [str(one) for one in member(item, "option_ids", "option_id") or []]
        for item in (items if isinstance(items, list) else [])
    }


# --- the lines --------------------------------------------------------------------------------------------------------------

OPERATIONS = {"start", "stop", "reply", "push", "upload", "download", "welcome", "update", "state", "census"}


async def perform(testee, op):
    try:
        answer = await getattr(testee, op["op"])(op) if op["op"] in OPERATIONS else {"outcome": "unsupported"}
    except Failed as failed:
        answer = {"outcome": failed.outcome, "errcode": failed.errcode, "reason": str(failed)}
    except Exception as error:  # noqa: BLE001 -- nothing ends the testee
        answer = {"outcome": "failed", "reason": type(error).__name__}
    say({"id": op["id"], **answer})


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    testee = Testee()
    say(HELLO)
    running = set()
    while (line := await lines.get()) is not None:
        task = asyncio.create_task(perform(testee, json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    try:
        async with asyncio.timeout(2):
            await testee.stop()
    except TimeoutError:
        log("the client did not stop in time")


asyncio.run(main())
