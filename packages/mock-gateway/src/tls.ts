/**
 * A port that takes TLS and plain text alike, told apart by the first byte of each connection.
 *
 * It knows nothing of WebSockets and HTTP but that they begin with a letter, and TLS with the byte 22. Where certificates
 * come from is tls.authority.ts.
 */
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket } from "node:tls";

/** What the server shows, and what a client must trust to believe it. All PEM. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
  /** The authority's certificate. */
  readonly ca: string;
}

/** Where an authority is kept when nobody says otherwise: the user's folder for settings. */
export const defaultTlsFolder = (env: NodeJS.ProcessEnv = process.env, platform = process.platform): string => {
  const home =
    platform === "win32"
      ? (env["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local"))
      : (env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"));
  return join(home, "openws-gateway", "tls");
};

/** How long a connection may take to say its first byte, or to shake hands. */
const firstByteMs = 10_000;
const tlsHandshake = 22;

/** A port that takes TLS and plain text. */
export interface Door {
  /** The TCP socket beneath a connection's stream: what has to be reset for the peer to see a reset. */
  socketOf(stream: Duplex): Socket;
  /** Drops the connections that did not get through yet; the server knows the others. */
  close(): void;
}

/** Lets a plain HTTP server take TLS as well, by the first byte of each connection. Call it before the server listens. */
export const openDoor = (server: Server, { key, cert }: Certificate): Door => {
  const secureContext = createSecureContext({ key, cert, minVersion: "TLSv1.2" });
  const beneath = new WeakMap<Duplex, Socket>();
  const waiting = new Set<Socket>();
  const [serve] = server.listeners("connection") as ((this: Server, socket: Duplex) => void)[];
  server.removeAllListeners("connection");

  server.on("connection", (socket: Socket) => {
    // A stranger that says nothing, does not trust us or speaks an old dialect: nothing to tell, nothing to keep.
    const drop = (): void => void socket.destroy();
    const admit = (stream: Duplex): void => {
      waiting.delete(socket);
      socket.setTimeout(0, drop);
      stream.off("end", drop);
      serve!.call(server, stream);
    };
    waiting.add(socket);
    socket.setTimeout(firstByteMs, drop);
    socket.on("error", drop);
    socket.on("end", drop);
    socket.once("close", () => waiting.delete(socket));
    const begin = (): void => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) return void socket.once("readable", begin);
      socket.unshift(first);
      if (first[0] !== tlsHandshake) return admit(socket);
      const secure = new TLSSocket(socket, { isServer: true, secureContext });
      beneath.set(secure, socket);
      secure.on("error", drop);
      secure.on("end", drop);
      secure.once("close", drop);
      secure.once("secure", () => admit(secure));
    };
    begin();
  });
  return {
    socketOf: (stream) => beneath.get(stream) ?? (stream as Socket),
    close: () => {
      for (const socket of waiting) socket.destroy();
    },
  };
};
