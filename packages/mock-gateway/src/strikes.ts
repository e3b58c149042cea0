/**
 * What faults do by themselves: to a connection as a whole, to a command in the place of its answer, to the port.
 *
 * Which fault acts when is faults.ts; what faults make of acks is in outlet.ts, of callbacks in deliveries.ts.
 */
import { behaviours } from "./behaviours.ts";
import { destination, type Bot, type Bots } from "./bots.ts";
import type { Clock, Millis } from "./clock.ts";
import type { Connection, Connections } from "./connections.ts";
import type { Command, Conversations, Verdict } from "./conversations.ts";
import type { Deliveries } from "./deliveries.ts";
import type { WorldEffect } from "./effects.ts";
import { lastsMs, type ArmedFault, type FaultOf } from "./faults.ts";
import { errmsgOf, type Asked, type Outlet } from "./outlet.ts";
import type { Act } from "./session.ts";
import type { Switches } from "./switches.ts";

/** What strikes need of the world. */
export interface StrikePorts {
  readonly bots: Bots;
  readonly clock: Clock;
  readonly connections: Connections;
  readonly conversations: Conversations;
  readonly deliveries: Deliveries;
  readonly outlet: Outlet;
  readonly switches: () => Switches;
  readonly emit: (effect: WorldEffect) => void;
  /** As if another instance had subscribed. */
  readonly kick: (bot: Bot, closeAfterMs: Millis | "never" | undefined) => void;
  /** The bot's callbacks do not go here any more. */
  readonly leave: (connection: Connection, reason: string) => void;
  /** Carries out a command. */
  readonly perform: (connection: Connection, act: Command) => Verdict;
}

/** The strikes of one world. */
export class Strikes {
  readonly #ports: StrikePorts;
  /** Faults that keep the port closed. */
  readonly #shutBy = new Set<string>();

  constructor(ports: StrikePorts) {
    this.#ports = ports;
  }

  /** The gateway is gone: `down` was armed. */
  goDown(id: string, fault: FaultOf<"down">): void {
    const { clock, connections, emit } = this.#ports;
    for (const { session } of connections) connections.cut(session.n, "reset");
    if (fault.how !== "refuse") return;
    this.#shutBy.add(id);
    emit({ type: "port", open: false });
    clock.after(lastsMs(fault)!, () => this.comeBack(id));
  }

  /** This fault keeps the port closed no longer; none does, if none is named. */
  comeBack(id?: string): void {
    if (this.#shutBy.size === 0) return;
    if (id === undefined) this.#shutBy.clear();
    else this.#shutBy.delete(id);
    if (this.#shutBy.size === 0) this.#ports.emit({ type: "port", open: true });
  }

  /** A fault strikes a connection as a whole. */
  strike(connection: Connection, { id, fault }: ArmedFault): void {
    const { bots, clock, connections, emit, kick, leave, outlet } = this.#ports;
    const { n, bot: name } = connection.session;
    const bot = name === undefined ? undefined : bots.get(name);
    outlet.note(connection, `fault ${fault.kind}`, undefined, id);
    switch (fault.kind) {
      case "half-open":
      case "nat-drop":
      case "reset":
        return connections.cut(n, fault.kind);
      case "close":
        return connections.cut(n, "close", sendable(fault.code ?? 1000));
      case "ping":
        return emit({ type: "ping", connection: n, noted: true });
      case "forget":
        leave(connection, "the gateway forgot the subscription");
        if (connection.session.state === "subscribed") connection.session.lost();
        return;
      case "half-alive":
        connection.deaf = true;
        if (fault.forMs !== undefined)
          clock.after(fault.forMs, () => {
            connection.deaf = false;
          });
        return;
      case "kick":
        if (bot?.live === connection) kick(bot, fault.closeAfterMs);
        return;
      case "burst":
        if (bot) this.#burst(bot, fault.count, id);
        return;
      case "clock-jump":
        return clock.advance(fault.ms, false);
      default:
      // The other kinds have other occasions.
    }
  }

  /** A message overtakes the ack of its bot's subscribe (GW-AUTH-16). */
  overtake(bot: Bot, { id, fault }: ArmedFault): void {
    this.#say(bot, "zhangsan", (fault as FaultOf<"callback-before-ack">).text ?? "said before the ack", id);
  }

  /** Answers a command in the place of the server; false when the fault has nothing to say to this one. */
  refuses(asked: Asked, act: Exclude<Act, { type: "ignore" }>, { id, fault }: ArmedFault): boolean {
    const { conversations, outlet, perform, switches } = this.#ports;
    if (asked.entry) asked.entry.fault = id;
    const answer = (errcode: number, errmsg: string): true => {
      const verdict = { why: "ok", note: `fault ${fault.kind}` } as const;
      outlet.answer(asked, verdict, outlet.latency(), { errcode, errmsg });
      return true;
    };
    switch (fault.kind) {
      case "errcode":
        return answer(fault.errcode, fault.errmsg ?? errmsgOf(fault.errcode));
      case "throttle":
        return answer(fault.errcode ?? 846_607, errmsgOf(fault.errcode ?? 846_607));
      case "upload":
        if (fault.what === "finish-fails") return answer(-1, errmsgOf(-1));
        if (fault.what === "md5-mismatch")
          return answer(switches().uploadErrcode, behaviours["upload.bad-md5"].errmsg ?? "");
        // Acked, and never kept.
        if (act.type !== "upload-chunk") return false;
        outlet.answer(asked, perform(asked.connection, act), outlet.latency());
        conversations.uploads.lose(act.uploadId, act.index);
        return true;
      default:
        return false;
    }
  }

  #burst(bot: Bot, count: number, fault: string): void {
    for (let user = 1; user <= count && bot.live; user++)
      this.#say(bot, `burst-${user}`, `message ${user} of ${count}`, fault);
  }

  #say(bot: Bot, userid: string, content: string, fault: string): void {
    const { conversations, deliveries } = this.#ports;
    const message = { from: { userid }, msgtype: "text", text: { content } };
    deliveries.deliver(bot, conversations.say(bot, message, destination(bot)), "callback.message", fault);
  }
}

/** 1005 and 1006 say that there was no close frame, and 1015 that TLS failed: none of them can be sent. */
const sendable = (code: number): number =>
  (code >= 3000 && code < 5000) || (code >= 1000 && code < 1015 && ![1004, 1005, 1006].includes(code)) ? code : 1000;
