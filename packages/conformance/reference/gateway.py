"""The connection of one bot: it dials, subscribes, pings, notices what is dead, and matches acks to what was sent.

Written from spec/ alone; names in parentheses, such as (AUTH-1), are entries of spec/requirements.yaml. What is said over
the connection, and to whom, is for others to know.
"""

import asyncio
import json
import random
import sys
import time
import uuid

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CREDENTIALS = {853000, 93019, 40001, 40013}
THROTTLED = {45009, 45033}
NOT_SUBSCRIBED = 846609

# How large a frame may be that comes in. A hundred times the largest that was seen.
MAX_FRAME_BYTES = 64 * 1024 * 1024


class Failed(Exception):
    """What became of something that was not acknowledged: an outcome of TESTEE.md, with the errcode of a refusal."""

    def __init__(self, outcome, errcode=None, reason=None):
        super().__init__(reason or outcome)
        self.outcome = outcome
        self.errcode = errcode


def fresh(prefix):
    """An id that nobody has used, of characters that are lawful everywhere."""
    return f"{prefix}-{uuid.uuid4().hex}"


def log(text):
    """Tells people. Never anything that came from the gateway or from the application (ROBUST-4a)."""
    print(text, file=sys.stderr, flush=True)


def member(value, *path):
    """What stands at a path of objects, or None."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text_at(value, *path):
    """A text at a path; a number counts as one, as numbers may come as texts (IN-9)."""
    found = member(value, *path)
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return str(found)
    return found if isinstance(found, str) else None


class Durations:
    """In seconds. All follow from the three that a lane scales; `second` is what a second of production is there."""

    def __init__(self, heartbeat_ms=30_000, ack_ms=10_000, backoff_base_ms=1_000):
        self.heartbeat = heartbeat_ms / 1000
        self.ack = ack_ms / 1000
        self.backoff_base = backoff_base_ms / 1000
        self.second = self.heartbeat / 30


class Lane:
    """All frames of one req_id: one at a time waits for its ack (REPLY-3)."""

    def __init__(self):
        self.turn = asyncio.Lock()
        self.users = 0
        self.acks = None
        # How many acks may still come of frames that were given up (REPLY-9).
        self.owed = 0


class Line:
    """One socket, from its opening to its end."""

    def __init__(self, socket):
        self.socket = socket
        self.lanes = {}
        self.ended = asyncio.Event()
        self.reason = None

    def end(self, reason):
        """Nothing is sent or awaited any more. Whoever runs the line closes the socket."""
        if self.reason is not None:
            return
        self.reason = reason
        self.ended.set()
        for lane in self.lanes.values():
            if lane.acks is not None:
                lane.acks.put_nowait(None)

    async def close(self, within):
        """Lets go of the socket: politely if the peer still listens."""
        try:
            async with asyncio.timeout(within):
                await self.socket.close()
        except TimeoutError:
            pass
        self.abort()

    def abort(self):
        self.socket.transport.abort()

    async def request(self, cmd, req_id, body, patience):
        """Sends a command and returns its ack. Raises Failed in every other case."""
        lane = self.lanes.setdefault(req_id, Lane())
        lane.users += 1
        try:
            async with lane.turn:
                return await self._exchange(lane, cmd, req_id, body, patience)
        finally:
            lane.users -= 1
            self._forget(req_id, lane)

    async def _exchange(self, lane, cmd, req_id, body, patience):
        if self.reason is not None:
            raise Failed("connection-lost")
        frame = {"cmd": cmd, "headers": {"req_id": req_id}} | ({} if body is None else {"body": body})
        lane.acks = asyncio.Queue()
        ack = None
        try:
            async with asyncio.timeout(patience):
                await self._send(json.dumps(frame, ensure_ascii=False))
                ack = await self._ack(lane)
                # It may be the late one of a frame that was given up; then another follows, and that one counts.
                while lane.owed > 0:
                    newer = await self._ack(lane)
                    lane.owed -= 1
                    ack = newer
        except TimeoutError:
            if ack is None:
                lane.owed += 1
                asyncio.get_running_loop().call_later(6 * patience, self._write_off, req_id, lane)
                raise Failed("timed-out") from None
            lane.owed = 0
        finally:
            lane.acks = None
        errcode = errcode_of(ack)
        if errcode != 0:
            raise Failed("refused", errcode)
        return ack

    async def _send(self, text):
        try:
            await self.socket.send(text)
        except ConnectionClosed:
            raise Failed("connection-lost") from None
        except asyncio.CancelledError:
            # The time for an ack is over, and the frame has not even left: the peer has stopped reading (CONN-9).
            self.end("stalled")
            raise

    @staticmethod
    async def _ack(lane):
        ack = await lane.acks.get()
        if ack is None:
            raise Failed("connection-lost")
        return ack

    def acked(self, req_id, frame):
        """An ack came."""
        lane = self.lanes.get(req_id)
        if lane is None:
            return
        if lane.acks is not None:
            lane.acks.put_nowait(frame)
        elif lane.owed > 0:
            lane.owed -= 1
            self._forget(req_id, lane)

    def _write_off(self, req_id, lane):
        lane.owed = 0
        self._forget(req_id, lane)

    def _forget(self, req_id, lane):
        if lane.users == 0 and lane.owed == 0:
            self.lanes.pop(req_id, None)


def errcode_of(ack):
    """The errcode decides, and nothing else (AUTH-10); where there is none, it is accepted (REPLY-12)."""
    errcode = ack.get("errcode")
    if errcode is None:
        log("an ack has no errcode; it counts as accepted")
        return 0
    try:
        return int(errcode)
    except (TypeError, ValueError):
        return -1


class Connection:
    """The undertaking to have a subscribed socket. `on_callback` takes every callback: (cmd, req_id, body)."""

    def __init__(self, url, bot_id, secret, durations, on_callback):
        self.url = url
        self.bot_id = bot_id
        self.secret = secret
        self.durations = durations
        self.on_callback = on_callback
        self.state = "stopped"
        self.errcode = None
        # The line that is subscribed; None while there is none.
        self.line = None
        self._changed = asyncio.Event()
        self._running = None

    def start(self):
        self._become("connecting")
        self._running = asyncio.create_task(self._run())

    async def stop(self):
        """Closes the socket and ends all timers (ROBUST-3a)."""
        self._become("stopped")
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def ready(self):
        """Waits for a subscribed line, however long that takes. Raises Failed when there will be none."""
        while self.line is None:
            if self.state != "connecting":
                raise Failed("not-sent", reason=self.state)
            await self._changed.wait()
        return self.line

    async def request(self, cmd, req_id, body, patience=None):
        """Sends a command over the line there is. Raises Failed where it was not acknowledged."""
        line = self.line
        if line is None:
            raise Failed("not-sent", reason=self.state)
        try:
            return await line.request(cmd, req_id, body, patience or self.durations.ack)
        except Failed as failed:
            # Whatever it was, this socket is not subscribed: one controlled reconnect (REPLY-7a).
            if failed.errcode == NOT_SUBSCRIBED:
                self._lose(line, "not subscribed")
            raise

    def _become(self, state):
        self.state = state
        if state != "ready":
            self.line = None
        self._changed.set()
        self._changed = asyncio.Event()

    def _lose(self, line, reason):
        if self.line is line:
            self._become("connecting")
        line.end(reason)

    # --- the life of a socket after the other -----------------------------------------------------------------------------

    async def _run(self):
        second = self.durations.second
        failures = throttles = 0
        while True:
            ended, held = await self._live()
            if ended in ("kicked", "refused"):
                # Whoever comes back kicks the other instance, and wrong credentials do not get better (KICK-3b, AUTH-7).
                self._become(ended)
                return
            # Only a subscription that lasted begins the back-off anew, never an opened socket (CONN-7).
            if held > 50 * second:
                failures = throttles = 0
            if ended == "throttled":
                wait = min(30 * 1.5**throttles, 300) * second
                throttles += 1
            else:
                wait = min(self.durations.backoff_base * 2**failures, 30 * second)
                failures += 1
            # Chance only lengthens: six attempts in the first minute are the most that is allowed.
            await asyncio.sleep(wait * random.uniform(1.02, 1.1))

    async def _live(self):
        """One socket, from the dial to the end. Returns why it ended, and for how long it was subscribed."""
        durations = self.durations
        try:
            socket = await connect(
                self.url,
                open_timeout=durations.ack + 0.5,
                close_timeout=durations.ack,
                # Some networks swallow the pings of WebSocket, which say nothing of the gateway (BEAT-4b).
                ping_interval=None,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                proxy=None,
            )
        except Exception as error:  # noqa: BLE001 -- whatever a dial meets, it is tried again (CONN-6)
            log(f"the dial failed: {type(error).__name__}")
            return "lost", 0
        line = Line(socket)
        reading = asyncio.create_task(self._read(line))
        beating = None
        ready_at = None
        try:
            await self._subscribe(line)
            if line.reason is None:
                self.line = line
                self._become("ready")
                ready_at = time.monotonic()
                beating = asyncio.create_task(self._beat(line))
                await line.ended.wait()
        finally:
            if self.line is line:
                self._become("connecting")
            line.end("stopped")
            if beating is not None:
                beating.cancel()
            # Before the next socket is subscribed this one has to be gone (CONN-11).
            if line.reason in ("dead", "stalled", "lost"):
                line.abort()
            else:
                await line.close(2 * durations.second)
            reading.cancel()
        log(f"the line ended: {line.reason}")
        return line.reason, 0 if ready_at is None else time.monotonic() - ready_at

    async def _subscribe(self, line):
        try:
            body = {"bot_id": self.bot_id, "secret": self.secret}
            await line.request("aibot_subscribe", fresh("subscribe"), body, 0.9 * self.durations.ack)
        except Failed as failed:
            self.errcode = failed.errcode
            if failed.errcode in CREDENTIALS:
                self._become("refused")
                line.end("refused")
            elif failed.errcode in THROTTLED:
                line.end("throttled")
            else:
                line.end("not subscribed" if failed.errcode is not None else "lost")

    async def _beat(self, line):
        """A ping every heartbeat; after two without a good ack the socket is dead (BEAT-2b, BEAT-3, BEAT-6b)."""
        while True:
            await asyncio.sleep(self.durations.heartbeat)
            if not await self._ping(line) and not await self._ping(line):
                self._lose(line, "dead")
                return

    async def _ping(self, line):
        try:
            await line.request("ping", fresh("ping"), None, self.durations.ack)
            return True
        except Failed as failed:
            if failed.errcode == NOT_SUBSCRIBED:
                self._lose(line, "not subscribed")
            return False

    async def _read(self, line):
        try:
            async for data in line.socket:
                if line.reason is None:
                    self._take(line, data)
        except ConnectionClosed:
            pass
        self._lose(line, "lost")

    def _take(self, line, data):
        frame = parse(data)
        if frame is None:
            return
        req_id = text_at(frame, "headers", "req_id")
        cmd, body = frame.get("cmd"), frame.get("body")
        if not cmd:
            if req_id is not None:
                line.acked(req_id, frame)
        elif member(body, "event", "eventtype") == "disconnected_event":
            # Another instance has taken over. Pings would go on being acknowledged, and say nothing (KICK-2a).
            self._become("kicked")
            line.end("kicked")
        elif isinstance(body, dict) and req_id is not None:
            self.on_callback(cmd, req_id, body)


def parse(data):
    """The object that a WebSocket message holds, text or binary (IN-7b), or None: such a message is ignored (IN-6)."""
    try:
        # Users paste control characters, and they come as they are (IN-5).
        frame = json.loads(data, strict=False)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) else None
