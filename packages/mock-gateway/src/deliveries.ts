/**
 * Callbacks on their way out: to the one connection of their bot, as far and as often as faults let them.
 *
 * What a callback says is decided before (conversations.ts), how its text leaves behind it (outlet.ts).
 */
import { cmd } from "@openws/protocol/frames";
import type { BehaviourId } from "./behaviours.ts";
import { destination, type Bot, type Bots } from "./bots.ts";
import type { Clock } from "./clock.ts";
import type { Connection } from "./connections.ts";
import type { Conversations } from "./conversations.ts";
import type { ArmedFault, FaultOf, Faults } from "./faults.ts";
import { oddTexts, padded } from "./mischief.ts";
import type { Outlet } from "./outlet.ts";
import type { Switches } from "./switches.ts";
import type { Turn } from "./turns.ts";

/** What deliveries need of the world. */
export interface DeliveryPorts {
  readonly bots: Bots;
  readonly clock: Clock;
  readonly conversations: Conversations;
  readonly faults: Faults;
  readonly outlet: Outlet;
  readonly switches: () => Switches;
}

/** The deliveries of one world. */
export class Deliveries {
  readonly #ports: DeliveryPorts;

  constructor(ports: DeliveryPorts) {
    this.#ports = ports;
  }

  /** Sends a callback to the bot's connection, unless that is half-alive; a fault may change it or have it come again. */
  deliver(bot: Bot, turn: Turn, why: BehaviourId, fault?: string): void {
    const connection = bot.live;
    if (connection?.deaf)
      this.#ports.outlet.note(connection, `not delivered to a half-alive connection: ${turn.msgid}`);
    else if (connection) this.callback(connection, turn, why, fault);
  }

  /** The same to any connection, such as one that is being kicked. */
  callback(connection: Connection, original: Turn, why: BehaviourId, cause?: string): void {
    const { clock, conversations, faults, outlet, switches } = this.#ports;
    let turn = original;
    let fault = cause;
    const command = turn.eventtype === undefined ? cmd.message : cmd.event;
    const occasion = { bot: turn.bot.id, cmd: command };
    const acting = faults.size === 0 ? none : faults.take(clock.transport, "callback", occasion);
    for (const armed of acting) {
      fault = armed.id;
      if (armed.fault.kind === "callback-reuse-req-id" && connection.lastReqId !== undefined)
        turn = conversations.turns.rename(turn, connection.lastReqId);
    }
    const { reqId } = turn;
    const plain = JSON.stringify({ cmd: command, headers: { req_id: reqId }, body: turn.body });
    const texts = [switches().escapedSlashes ? plain.replaceAll("/", "\\/") : plain];
    for (const { fault: acted } of acting) {
      const text = texts.pop()!;
      if (acted.kind === "odd-frame") texts.push(...oddTexts(acted.what, text, reqId));
      else texts.push(acted.kind === "oversize" ? padded(text, acted.bytes) : text);
    }
    texts.forEach((text, index) => {
      const note = index < texts.length - 1 ? "sent by a fault" : undefined;
      outlet.out(connection, text, { cmd: command, reqId, verdict: why, fault, note });
    });
    let again = false;
    for (const { id, fault: acted } of acting) {
      if (acted.kind !== "redeliver") continue;
      again = true;
      this.#redeliver(turn, acted, id);
    }
    if (!again) conversations.sent(turn);
  }

  #redeliver(turn: Turn, { reqId = "new", over = "same" }: FaultOf<"redeliver">, fault: string): void {
    const { bots, conversations } = this.#ports;
    const bot = bots.get(turn.bot.id);
    if (!bot || turn.eventtype !== undefined) return;
    const sameReqId = reqId === "same";
    if (over === "next") (bot.redeliveries ??= []).push({ turn, sameReqId, fault });
    else if (bot.live) {
      const again = conversations.turns.again(turn, destination(bot)!, sameReqId);
      this.callback(bot.live, again, "callback.redelivered", fault);
    }
  }
}

const none: readonly ArmedFault[] = [];
