/** A server of a test: it listens on a free port of the loopback, and is closed with whatever is connected to it. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Lets it listen; `ended` is told how to end it. Resolves with the port. */
export async function listening(server: Server, ended: (() => unknown)[]): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  ended.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
