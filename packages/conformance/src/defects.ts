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
  "sends-no-pongs": row("BEAT-4a", "PINGs of WebSocket are not answered"),
  "dies-of-a-json-ping": row("BEAT-5", "a JSON ping of the gateway ends the process"),
  "takes-any-ack-for-life": row("BEAT-6b", "any ack counts as the ack of a ping"),
  "needs-an-errcode": row("REPLY-12", "an ack without errcode is no ack"),
  "waits-for-ever-to-write": row("CONN-9", "nothing goes on until what was written before has left, pings included"),
  "keeps-its-old-timers": row("ROBUST-1", "the heartbeat of a lost connection goes on over the next one"),
  "leaves-streams-open-when-stopped": row("ROBUST-3b", "streams are left open when it is stopped"),
  "tells-what-the-gateway-said": row("ROBUST-4b", "users are told the errmsg of a refusal"),
  "insists-when-throttled": row("REPLY-5a", "after 846607 it goes on after a second", "REPLY-5c"),
  "drops-what-is-throttled": row("REPLY-5b", "after 846607 the answer is dropped", "REPLY-5c"),
  "waits-10-s-when-throttled": row("REPLY-5c", "after 846607 it goes on after 10 s"),
  "credits-late-acks": row("REPLY-9", "an ack that comes late is taken for the next frame's"),
  "drops-what-must-be-markdown": row("REPLY-10", "a reply that is refused with 600039 is dropped"),
  "repeats-what-is-filtered": row("REPLY-11", "what is refused with 40201 is pushed"),
  "repeats-media": row("REPLY-8b", "a file is sent again until it is acknowledged"),
  "leaves-a-stream-open-when-it-fails": row("STREAM-2b", "a handler that throws leaves its stream open"),
  "never-hands-over": row("STREAM-5", "a stream goes on for as long as its answer takes"),
  "shows-every-update": row("STREAM-6a", "each update of a stream is sent"),
  "drops-the-last-update": row("STREAM-6b", "where the quota is nearly used up the end of a stream is not sent"),
  "tries-no-old-req-id": row("STREAM-7a", "what a reset interrupts is pushed"),
  "forgets-what-a-drop-interrupts": row("STREAM-7b", "what a reset interrupts is not gone on with", "STREAM-7a"),
  "rates-late": row("STREAM-8a", "the last frame of a stream has the feedback.id"),
  "names-its-rating-freely": row("STREAM-8b", "feedback.id does not begin with trace_"),
  "insists-on-a-bad-chat": row("PUSH-2", "a push that is refused with 93006 is sent again"),
  "pushes-cards": row("PUSH-5", "a text is pushed as a card", "STREAM-7b"),
  "pushes-it-whole": row("PUSH-6", "a long push leaves in one frame"),
  "knows-no-quota": row("PUSH-7", "a chat is sent whatever there is", "STREAM-6a"),
  "has-one-chat-for-all-users": row("IN-3", "single chats have one key", "PUSH-1a", "REPLY-4b", "STREAM-4b", "IN-17"),
  "drops-words-behind-the-mention": row("IN-15a", "a command behind the mention is stripped with it"),
  "strips-every-mention": row("IN-15b", "the bot's mention is stripped wherever it stands"),
  "takes-no-chattype-for-single": row("IN-17", "a message without chattype is taken for one of a single chat"),
  "welcomes-late": row("EVENT-1a", "a welcome is sent after 8 s"),
  "hears-no-event-from-nobody": row("EVENT-5", "an event without from is ignored"),
  "welcomes-again": row("EVENT-6", "an event that comes again is answered again"),
  "answers-clicks-by-a-push": row("EVENT-2a", "a click is answered by a push"),
  "makes-cards-without-a-title": row("CARD-1", "cards have no main_title"),
  "gives-cards-one-task-id": row("CARD-2", "all cards have one task_id"),
  "gives-buttons-one-key": row("CARD-3", "two buttons of a card have one key"),
  "writes-cards-in-strings": row("CARD-4", "the style of a button is a string"),
  "states-another-md5": row("UPLOAD-1b", "md5 is in capitals"),
  "repeats-chunks-every-2-s": row("UPLOAD-4", "a chunk is sent every 2 s until it is acknowledged"),
  "begins-again-after-a-drop": row("UPLOAD-5b", "an upload that a reset interrupts is begun again"),
  "shrugs-at-overload": row("UPLOAD-6", "a chunk that is refused with -1 is sent again at once, twelve times"),
  "uploads-anything": row("UPLOAD-7", "files of any size are uploaded"),
  "needs-created-at-as-text": row("UPLOAD-9", "a created_at that is a number is an error"),
  "names-files-at-length": row(
    "UPLOAD-10",
    "a filename has more than 256 bytes",
    "UPLOAD-1a",
    "UPLOAD-1b",
    "UPLOAD-1c",
    "UPLOAD-2",
  ),
  "sends-all-chunks-at-once": row("UPLOAD-11", "all chunks of a file are in flight at once", "UPLOAD-6"),
  "dies-of-a-lost-ack": row("ROBUST-2", "a reply whose ack does not come ends the process"),
} as const satisfies Readonly<Record<string, DefectRow>>;

/** The name of a defect; besides those of the table there are two that no check is about. */
export type Defect =
  | keyof typeof defects
  | "never-connects"
  | "never-subscribes"
  | "remembers-every-msgid"
  | "forgets-what-was-refused-with-846609"
  | "dials-for-a-push"
  | "swallows-pushes-while-disconnected"
  | "takes-silence-for-delivery";
