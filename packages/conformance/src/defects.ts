/**
 * The defects of the plain bot: for each check at least one that fails it. `entails` names what cannot but fail with it;
 * whatever else changes is a mistake of the suite, and `self-test` says so.
 */

/** One defect. */
export interface DefectRow {
  /** The check that must fail. */
  readonly fails: string;
  /** Checks that may fail with it, because the same behaviour breaks them too. */
  readonly entails?: readonly string[];
  /** What the bot does wrong. */
  readonly what: string;
}

const row = (fails: string, what: string, ...entails: string[]): DefectRow =>
  entails.length === 0 ? { fails, what } : { fails, what, entails };

/** The checks that ask for an answer, and so cannot pass where there is none. */
const answering = "AUTH-4 CONN-2 CONN-10 IN-1a IN-1b IN-5 IN-6 IN-7a IN-7b IN-8 IN-9 IN-13 IN-14a IN-14b".split(" ");

/** By name. */
export const defects = {
  "pings-before-it-subscribes": row("AUTH-1", "its first frame is a ping"),
  "speaks-before-its-ack": row("AUTH-2", "it pushes before its subscribe is acknowledged"),
  "waits-for-ever-for-its-ack": row("AUTH-3a", "a subscribe may stay unacknowledged for ever", "AUTH-3b"),
  "waits-14-s-for-its-ack": row("AUTH-3b", "a subscribe may stay unacknowledged for 14 s"),
  "takes-the-first-frame-for-its-ack": row("AUTH-4", "what comes before the ack is taken for it, and lost"),
  "takes-any-ack-for-its-own": row("AUTH-5", "any ack with errcode 0 is taken for its own"),
  "keeps-its-socket-when-refused": row("AUTH-6b", "after 853000 the socket stays open"),
  "hammers-when-refused": row("AUTH-6c", "after 853000 it tries again every other second", "AUTH-7"),
  "never-gives-up-when-refused": row("AUTH-7", "after 853000 it tries again, at most 30 s later, for ever"),
  "takes-a-throttle-for-a-lost-line": row("AUTH-8a", "after 45009 it tries again after a second", "ROBUST-4a"),
  "takes-a-throttle-for-the-end": row("AUTH-8b", "after 45009 it never tries again", "ROBUST-4a"),
  "takes-any-refusal-for-the-end": row("AUTH-9", "after an unknown errcode it never tries again"),
  "decides-by-errmsg": row("AUTH-10", 'an ack whose errmsg is "ok" counts as accepted'),
  "subscribes-every-20-s": row("AUTH-11a", "it subscribes every 20 s on a subscribed socket", "AUTH-11b"),
  "subscribes-every-70-s": row("AUTH-11b", "it subscribes every 70 s on a subscribed socket"),
  "prints-its-secret": row("ROBUST-4a", "it logs the secret with which it subscribes"),

  "never-pings": row("BEAT-1", "it sends no ping", "BEAT-2a", "BEAT-2b", "BEAT-3", "CONN-10", "CONN-11"),
  "pings-every-10-s": row("BEAT-1", "it sends a ping every 10 s"),
  "ignores-unanswered-pings": row(
    "BEAT-2a",
    "it sends pings and does not mind whether they are answered",
    "BEAT-2b",
    "BEAT-3",
    "CONN-10",
    "CONN-11",
  ),
  "takes-95-s-to-notice": row("BEAT-2b", "it gives the socket up 55 s after the first unanswered ping"),
  "takes-any-ping-ack-for-life": row("BEAT-3", "an ack of a ping with 846609 counts as a sign of life"),
  "insists-on-pongs": row("BEAT-4b", "it drops the socket when a WebSocket PING is not answered"),
  "keeps-its-old-socket": row(
    "CONN-11",
    "it dials anew and leaves the socket that fell silent open",
    "BEAT-2a",
    "BEAT-2b",
  ),

  "gives-up-after-ten-attempts": row("CONN-5", "it makes ten attempts in its life"),
  "dies-of-a-refused-upgrade": row("CONN-6", "an upgrade answered with 502 ends the process", "CONN-5"),
  "back-off-begins-anew-on-open": row("CONN-7", "an opened socket resets the back-off"),
  "rests-40-s-after-a-reset": row("CONN-8a", "after a reset it rests for 40 s", "CONN-7"),
  "takes-1000-for-the-end": row("CONN-8b", "a close with 1000 is taken for the end"),
  "minds-the-end-of-old-sockets": row(
    "CONN-10",
    "it leaves the socket that fell silent open, and takes its end for that of the newer one",
    "CONN-11",
    "BEAT-2a",
    "BEAT-2b",
  ),

  "keeps-its-socket-when-kicked": row("KICK-2b", "a kicked socket is left open"),
  "dies-of-an-event-from-nobody": row("KICK-5", "an event without from ends the process", "KICK-2b"),
  "takes-a-kick-for-a-lost-line": row(
    "KICK-3a",
    "kicked, it reconnects like after a lost line",
    "KICK-3b",
    "KICK-4a",
    "KICK-4b",
  ),
  "comes-back-15-s-after-a-kick": row("KICK-4a", "kicked, it comes back after 15 s, each time", "KICK-3b", "KICK-4b"),
  "comes-back-once-after-a-kick": row("KICK-3b", "kicked, it comes back after a minute, once", "KICK-4b"),
  "comes-back-three-minutes-after-a-kick": row("KICK-4b", "kicked, it comes back after three minutes, once"),
  "ignores-sigterm": row("ROBUST-3a", "it goes on after SIGTERM"),

  "pings-in-binary": row("CONN-1", "its pings are binary messages"),
  "joins-frames-under-load": row("CONN-2", "what is sent within one turn leaves as one message", "IN-13"),
  "pings-under-long-req-ids": row("CONN-3", "the req_ids of its pings have more than 300 bytes"),
  "pings-under-one-req-id": row("CONN-4", "all its pings have the same req_id"),
  "shouts-req-ids": row("REPLY-1", "replies carry the req_id in capitals", ...answering),
  "answers-with-text": row("REPLY-2", "replies have msgtype text"),
  "sends-msg-items": row("STREAM-9", "streams carry msg_item"),

  "takes-control-characters-ill": row("IN-5", "a frame with raw control characters is dropped"),
  "dies-of-null": row("IN-6", "a frame that is null ends the process"),
  "closes-on-binary": row("IN-7a", "a binary message ends the connection", "IN-7b"),
  "ignores-binary": row("IN-7b", "a binary message is ignored"),
  "dies-without-a-body": row("IN-8", "a callback without body ends the process"),
  "rejects-unknown-members": row("IN-9", "a frame with an unknown member is dropped"),
  "goes-deaf-over-large-frames": row("IN-14a", "after a frame beyond 1 MiB nothing is read any more", "IN-14b"),
  "takes-frames-up-to-1-mib": row("IN-14b", "a frame beyond 1 MiB ends the connection"),
  "answers-repeats": row("IN-1a", "a message that comes again is answered again", "IN-1b"),
  "forgets-msgids-with-its-line": row("IN-1b", "a message that comes again on the next connection is answered again"),
  "answers-under-the-newest-req-id": row("IN-13", "answers go to the newest req_id of a user"),
  "answers-events-as-messages": row("EVENT-1b", "an event is answered by aibot_respond_msg"),
  "thanks-for-feedback": row("EVENT-4", "a rating is answered by a push"),
  "repeats-after-846605": row("REPLY-4a", "a reply that is refused with 846605 is sent again", "REPLY-4b"),
  "drops-what-is-refused": row("REPLY-4b", "a reply that is refused with 846605 is dropped"),
  "shrugs-at-846609": row("REPLY-7a", "a refusal with 846609 changes nothing"),
  "repeats-6000-for-ever": row("REPLY-6a", "a reply that is refused with 6000 is sent again every 100 ms"),
  "opens-another-stream-on-6000": row(
    "REPLY-6b",
    "a reply that is refused with 6000 is sent again under another stream.id",
  ),
  "sends-deltas": row("STREAM-1a", "the frames of a stream carry what is new"),
  "changes-its-stream-id": row("STREAM-1b", "the last frame of a stream has another id"),
  "has-one-stream-id": row("STREAM-1c", "all streams have one id", "IN-13", "STREAM-4b"),
  "talks-after-its-finish": row("STREAM-2a", "a frame follows the finishing one"),
  "finishes-with-a-blank": row("STREAM-2c", "the finishing frame holds a blank", "STREAM-1a"),
  "does-not-await-acks": row("REPLY-3", "the frames of a stream do not wait for acks", "STREAM-4a", "STREAM-4b"),
  "sends-it-whole": row("STREAM-3a", "a long text leaves in one frame"),
  "cuts-characters": row("STREAM-3b", "a long text is cut between bytes", "STREAM-3c"),
  "drops-the-rest": row("STREAM-3c", "of a long text only the first part is sent"),
  "goes-on-after-846608": row("STREAM-4a", "a stream that was refused with 846608 goes on", "STREAM-4b"),
  "gives-up-after-846608": row("STREAM-4b", "of a stream that was refused with 846608 nothing follows"),
  "hangs-on-a-lost-ack": row("REPLY-8a", "a stream waits for ever for an ack", "ROBUST-2"),
  "lowers-userids": row("PUSH-1a", "pushes go to the userid in small letters"),
  "lowers-chatids": row("IN-4", "pushes go to the chatid in small letters"),
  "omits-chat-type": row("PUSH-1b", "pushes say no chat_type"),
  "pushes-text": row("PUSH-1c", "pushes have msgtype text"),
  "repeats-pushes": row("PUSH-4a", "a push is sent again until it is acknowledged"),
  "works-one-by-one": row("IN-12", "a message waits until the one before it is answered"),
  "talks-on-after-a-kick": row("KICK-1b", "a stream goes on after a kick", "KICK-2b"),
  "states-another-size": row("UPLOAD-1a", "an upload states one chunk too many"),
  "cuts-large-chunks": row("UPLOAD-1c", "chunks have up to 600 KiB"),
  "guesses-its-upload-id": row(
    "UPLOAD-2",
    "chunks are sent before the upload_id is known",
    "UPLOAD-3",
    "UPLOAD-5a",
    "UPLOAD-8",
  ),
  "begins-again-on-a-lost-ack": row("UPLOAD-3", "a chunk whose ack is lost starts the upload over"),
  "finishes-before-its-acks": row("UPLOAD-5a", "a finish does not wait for the acks of the chunks", "UPLOAD-3"),
  "sends-what-was-not-uploaded": row("UPLOAD-8", "after a refused finish the file is sent all the same"),
  "dies-of-a-lost-ack": row("ROBUST-2", "a reply whose ack does not come ends the process"),
} as const satisfies Readonly<Record<string, DefectRow>>;

/** The name of a defect; besides those of the table there are two that no check is about. */
export type Defect = keyof typeof defects | "never-connects" | "never-subscribes";
