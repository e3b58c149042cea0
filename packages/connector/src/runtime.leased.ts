/**
 * The sockets of a runtime as the holder of a lease may use them: nothing is dialled and nothing sent while the lease is not
 * held, and that is asked at each send, so it holds for a process that stood still and has not noticed yet.
 *
 * Decides as well that a replica which takes over opens its sockets while it still opens its store: TCP and TLS are done
 * when the bot wants its line, and only the subscribe is left, which is the instant at which the line changes hands.
 */
import type { Runtime, Socket, SocketEvents } from "./runtime.ts";
import type { LineLease } from "./service/bots.ts";

/** A runtime under a lease. */
export interface LeasedRuntime extends Runtime {
  /** Opens a socket that the next `dial` of this address gets; it is dropped where none comes within ten seconds. */
  ahead(url: string): void;
  /** Drops what was opened ahead and not taken. */
  forget(): void;
}

const aheadMs = 10_000;

/** Puts a runtime's sockets under a lease. */
export function leasedRuntime(runtime: Runtime, lease: LineLease): LeasedRuntime {
  const waiting = new Map<string, ReturnType<typeof openAhead>[]>();
  const guarded = (socket: Socket): Socket => ({
    send: (text) => {
      if (lease.holds() !== undefined) socket.send(text);
    },
    drop: (politely) => socket.drop(politely),
  });
  return {
    now: () => runtime.now(),
    wakeAt: (at, wake) => runtime.wakeAt(at, wake),
    random: () => runtime.random(),
    dial: (url, events) => {
      if (lease.holds() === undefined) return unopened(runtime, events);
      const ready = waiting.get(url)?.shift();
      // An alarm that nobody needs would keep the process.
      ready?.cancel();
      return guarded(ready === undefined || ready.over() ? runtime.dial(url, events) : ready.take(events));
    },
    ahead: (url) => {
      const one = openAhead(runtime, url);
      waiting.set(url, [...(waiting.get(url) ?? []), one]);
      one.cancel = runtime.wakeAt(runtime.now() + aheadMs, () => {
        const all = waiting.get(url) ?? [];
        all.splice(all.indexOf(one), 1);
        one.drop();
      });
    },
    forget: () => {
      for (const one of [...waiting.values()].flat()) {
        one.cancel();
        one.drop(false);
      }
      waiting.clear();
    },
  };
}

/** A socket that is opened before anybody listens to it. */
function openAhead(runtime: Runtime, url: string) {
  let events: SocketEvents | undefined;
  let isOpen = false;
  let over = false;
  const socket = runtime.dial(url, {
    opened: () => {
      isOpen = true;
      events?.opened();
    },
    received: (text) => events?.received(text),
    closed: (code, reason) => {
      over = true;
      events?.closed(code, reason);
    },
  });
  const drop = (politely = true): void => {
    over = true;
    socket.drop(politely);
  };
  return {
    over: () => over,
    drop,
    cancel: (): void => undefined,
    take(listener: SocketEvents): Socket {
      events = listener;
      // Whoever dials hears of it after the call.
      if (isOpen)
        queueMicrotask(() => {
          if (!over) listener.opened();
        });
      return { send: (text) => socket.send(text), drop };
    },
  };
}

/** A socket that cannot be: whoever dialled it tries again, or is ended by then. */
function unopened(runtime: Runtime, events: SocketEvents): Socket {
  const cancel = runtime.wakeAt(runtime.now(), () => events.closed(1006, "another replica holds the lease"));
  return { send: () => undefined, drop: cancel };
}
