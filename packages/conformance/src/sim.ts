/**
 * The simulator: our core against the mock's own gateway, over a faulty wire, in virtual time.
 *
 * Carries one schedule out, from the first dial to the moment when all is quiet, and returns what happened; invariants.ts
 * judges it. A quarter of an hour takes a few milliseconds, because nothing waits: time jumps from one event to the next.
 *
 * Decides how a run goes: when the operator acts, when faults are over, when it ends. Equal schedules give equal histories,
 * byte for byte.
 */
import * as protocol from "@openws/protocol";
import { markOf } from "./history.ts";
import type { Happening, History, Millis, Shown } from "./history.ts";
import { Agenda } from "./sim/agenda.ts";
import { chatAt, chatKey, lastWord, question } from "./sim/application.ts";
import { Chance } from "./sim/chance.ts";
import { Client } from "./sim/client.ts";
import type { Core } from "./sim/client.ts";
import { leastMs } from "./sim/schedule.ts";
import type { Command, Schedule } from "./sim/schedule.ts";
import { Wire, bot } from "./sim/wire.ts";

export type { Core } from "./sim/client.ts";
export type { Command, Fault, Schedule } from "./sim/schedule.ts";
export { scheduleOf, schedules } from "./sim/schedule.ts";

/** From the end of the faults to the question that must be answered: back-off, dial, subscribe; and a dead line noticed. */
const recoveryMs = 65_000;
const noticedMs = 50_000;
/** From then on: a stream in doubt, a throttled chat, an ack that does not come. */
const quietMs = 4 * 60_000;
/** How long a throttled client may still wait when the faults are over: 300 s × 1.5. */
const throttledMs = 450_000;
/** A user whose message did not go out says it again, so often and so much later. */
const sayAgain = { times: 10, afterMs: 20_000 };

/** Carries a schedule out. `core` is what is tried; our own by default. */
export function simulate(schedule: Schedule, core: Core = protocol): History {
  return new Run(schedule, core).history();
}

class Run {
  readonly #schedule: Schedule;
  readonly #log: Happening[] = [];
  readonly #agenda = new Agenda();
  readonly #wire: Wire;
  readonly #client: Client;
  #faultsEndAt: Millis = 0;
  #broken = false;
  #endAt: Millis = Infinity;
  /** Whether nothing is open any more after the end of all faults. */
  #quiet = false;

  constructor(schedule: Schedule, core: Core) {
    this.#schedule = schedule;
    const chance = new Chance(schedule.seed + 1);
    this.#wire = new Wire(schedule, this.#agenda, chance, this.#log);
    this.#client = new Client(core, schedule, this.#agenda, chance, this.#wire, this.#log);
  }

  history(): History {
    this.#plan();
    const agenda = this.#agenda;
    for (;;) {
      const event = agenda.next;
      const gateway = this.#wire.deadline;
      const client = this.#client.deadline;
      const next = Math.min(event, gateway, client);
      if (next === Infinity || this.#quiet) break;
      // Long answers go on after the faults.
      if (next > Math.max(this.#endAt, this.#client.application.speaksUntil + quietMs)) break;
      if (event === next) agenda.run();
      else {
        agenda.now = Math.max(agenda.now, next);
        if (gateway === next) this.#wire.tick();
        else this.#client.tick();
      }
    }
    return {
      happenings: this.#log,
      shown: this.#shown(),
      secret: bot.secret,
      credentialsRetryMs: this.#schedule.credentialsRetryMs,
      faultsEnd: { at: this.#faultsEndAt, broken: this.#broken },
      endAt: agenda.now,
      left: this.#client.left,
      broken: this.#client.broken,
    };
  }

  /** Enters everything the schedule says, and the end. */
  #plan(): void {
    const { commands, faults } = this.#schedule;
    const agenda = this.#agenda;
    agenda.at(0, () => this.#client.start());
    let over = leastMs - recoveryMs;
    for (const [n, command] of commands.entries()) {
      agenda.at(command.at, () => this.#do(n, command));
      over = Math.max(over, command.at + (command.do === "stop" ? command.forMs + 5_000 : 0));
    }
    for (const fault of faults) {
      agenda.at(fault.at, () => {
        if (fault.kind === "early-tick") this.#client.tickEarly(fault.backMs);
        this.#faultsEndAt = Math.max(this.#faultsEndAt, this.#wire.begin(fault));
      });
      over = Math.max(over, fault.at + ("forMs" in fault ? fault.forMs : 0) + ("ms" in fault ? fault.ms : 0));
    }
    agenda.at(over, () => this.#settleDown(over));
  }

  #do(n: number, command: Command): void {
    switch (command.do) {
      case "say":
        return this.#say(n, command, sayAgain.times);
      case "push":
        return this.#client.application.push(`p${n}`, chatKey(chatAt(command.chat)), {
          content: `${markOf(n, 0)} a push`,
        });
      case "upload":
        return this.#client.application.upload(n, chatKey(chatAt(command.chat)), command.bytes);
      case "restart":
        return this.#client.restart();
      case "start":
        return this.#client.start();
      case "stop":
        this.#client.stop();
        this.#agenda.at(this.#agenda.now + 5_000 + command.forMs, () => this.#client.start());
    }
  }

  #say(n: number, command: Extract<Command, { do: "say" }>, tries: number): void {
    this.#wire.say(chatAt(command.chat), question(n), (delivered) => {
      if (delivered || tries === 0) return;
      this.#agenda.at(this.#agenda.now + sayAgain.afterMs, () => this.#say(n, command, tries - 1));
    });
  }

  /** Faults are over. The operator sees to a client that stays away, a user asks once more, and all becomes quiet. */
  #settleDown(at: Millis): void {
    const agenda = this.#agenda;
    this.#wire.endFaults();
    this.#faultsEndAt = at;
    this.#broken = this.#wire.silentlyBroken;
    const seeTo = (): void => {
      if (["kicked", "refused", "stopped"].includes(this.#client.state)) this.#client.start();
    };
    seeTo();
    // A kick or a refusal that a fault has caused may still have been on its way.
    agenda.at(at + 5_000, seeTo);
    const askAt = at + recoveryMs + (this.#broken ? noticedMs : 0);
    this.#endAt = askAt + quietMs;
    agenda.at(askAt, () => this.#askOnceMore(true));
  }

  /** A throttled client is given the time that throttling takes; then it must answer. Most runs are quiet soon after. */
  #askOnceMore(patient: boolean): void {
    const agenda = this.#agenda;
    const { now } = agenda;
    if (patient && this.#client.state !== "ready" && this.#throttled) {
      this.#endAt = now + throttledMs + quietMs;
      agenda.at(now + throttledMs, () => this.#askOnceMore(false));
      return;
    }
    this.#say(this.#schedule.commands.length, lastWord, 0);
    const look = (): void => {
      this.#quiet = Object.values(this.#client.left).every((open) => open === 0);
      agenda.at(agenda.now + 5_000, look);
    };
    agenda.at(now + 5_000, look);
  }

  get #throttled(): boolean {
    const last = this.#log.findLast((happening) => happening.what === "moved" && happening.to === "waiting");
    return last?.what === "moved" && last.why === "throttled";
  }

  #shown(): Shown[] {
    const shown: Shown[] = [];
    for (const chat of this.#wire.world.chats(bot.id))
      for (const item of chat.items) {
        if (item.by !== "bot") continue;
        const { reqId, kind, content = "", finished, streamId } = item;
        shown.push({ chat: chat.id, req_id: reqId, kind, content, finished, streamId });
      }
    return shown;
  }
}
