/**
 * A file of 20 MB on its way to a media_id, acks 50 ms late: how long it takes, and how much the client's memory grows.
 *
 * A gateway and a client, each a process of its own and new for every upload, so that one's garbage is not another's. The
 * connector takes a path, and for its memory also a Blob that a file stands behind; the SDK takes bytes, so the file is read
 * for it, as it is for the bare sender: a `ws` client that has as many chunks under way as the connector at most, and sends
 * the next as one is acked.
 *
 * Switched on the mock: ackLatencyMs 50, ackJitterMs 0, subscribeLatencyMs 0; quota, subscribeRate off; chunkOverload, by
 * which a fifth chunk under way is refused, on and off.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, openAsBlob, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answer, ask, cpuMicros, hurry, memory, next, passed, say as tell, start, stop } from "./child.ts";
import { type Side, names, openBot, openClient } from "./clients.ts";
import { median, say } from "./row.ts";

const rounds = Number(process.env["BENCH_ROUNDS"] ?? 3);
const fileBytes = 20 * 1_048_576;
const chunkBytes = 512 * 1024;
/** The connector's own bound. */
const bareWindow = 8;

/** Whose client, and of what it is given the file. */
type Sender = Side | "blob";
const called: Readonly<Record<Sender, string>> = { ...names, blob: "openws, from a Blob" };

/** What one upload took. */
interface Took {
  readonly seconds: number;
  /** How far the resident set rose above where it was before, at most. */
  readonly grownMiB: number;
  readonly cpuMs: number;
}

const main = async (): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "openws-bench-"));
  try {
    const path = join(folder, "twenty.bin");
    writeFileSync(path, randomBytes(fileBytes));
    const grown: Record<"ours" | "blob", number[]> = { ours: [], blob: [] };
    for (const overload of ["on", "off"] as const) {
      const sides = overload === "on" ? (["ours", "sdk"] as const) : (["ours", "blob", "sdk", "bare"] as const);
      const took: Record<Sender, Took[]> = { ours: [], blob: [], sdk: [], bare: [] };
      for (let round = 1; round <= rounds; round++)
        for (const side of sides) {
          const gateway = await start(import.meta.filename, "gateway", overload);
          const client = await start(import.meta.filename, side, await next<string>(gateway, "url"));
          await next(client, "subscribed");
          const one = await ask<Took>(client, "upload", path);
          took[side].push(one);
          await stop(client, gateway);
          process.stderr.write(
            `round ${round}, chunkOverload ${overload}, ${called[side]}: ${one.seconds.toFixed(2)} s, ` +
              `${Math.round(one.cpuMs)} ms CPU, ${one.grownMiB.toFixed(1)} MiB more resident\n`,
          );
        }
      for (const from of ["ours", "blob"] as const) grown[from].push(...took[from].map(({ grownMiB }) => grownMiB));
      // How many times as fast: their seconds over ours.
      for (const [side, aim] of overload === "on"
        ? ([["sdk", 1.9]] as const)
        : ([
            ["sdk", 4],
            ["bare", 0.85],
          ] as const)) {
        const ratio = median(took[side].map(({ seconds }, round) => seconds / took.ours[round]!.seconds));
        say({
          what: `upload of 20 MB, chunkOverload ${overload}: megabytes a second`,
          unit: "MB/s",
          ours: 20 / median(took.ours.map(({ seconds }) => seconds)),
          theirs: 20 / median(took[side].map(({ seconds }) => seconds)),
          against: names[side],
          ratio,
          aim: `≥ ${aim}×`,
          met: ratio >= aim,
        });
      }
    }
    for (const from of ["ours", "blob"] as const)
      say({
        what: `upload of 20 MB from ${from === "ours" ? "a path" : "a Blob of a file"}: memory more than before, at most`,
        unit: "MiB",
        ours: Math.max(...grown[from]),
        aim: "≤ 16 MiB",
        met: Math.max(...grown[from]) <= 16,
      });
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const gateway = async (chunkOverload: string): Promise<void> => {
  hurry();
  const { startGateway } = await import("@openws/mock-gateway");
  const { url } = await startGateway({
    switches: {
      subscribeLatencyMs: 0,
      ackLatencyMs: 50,
      ackJitterMs: 0,
      quota: "off",
      subscribeRate: "off",
      chunkOverload: chunkOverload === "on",
    },
  });
  tell("url", url);
};

// ---------------------------------------------------------------------------------------------------------------------
// The clients

const client = async (side: Sender, url: string): Promise<void> => {
  hurry();
  const upload = await uploaders[side](url);
  answer("upload", async (path: string): Promise<Took> => {
    const { rss } = await memory();
    let most = rss;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
    }, 5);
    const [cpu, began] = [cpuMicros(), performance.now()];
    const mediaId = await upload(path);
    const seconds = (performance.now() - began) / 1_000;
    const cpuMs = (cpuMicros() - cpu) / 1_000;
    await passed(20);
    clearInterval(watch);
    if (mediaId === "") throw new Error("an upload must come to a media_id");
    return { seconds, cpuMs, grownMiB: (most - rss) / 1_048_576 };
  });
  tell("subscribed");
};

type Uploader = (path: string) => Promise<string>;

const uploaders: Readonly<Record<Sender, (url: string) => Promise<Uploader>>> = {
  async ours(url) {
    const bot = await openBot(url, "bot");
    await bot.start();
    return async (path) => (await bot.upload(path)).mediaId;
  },
  async blob(url) {
    const bot = await openBot(url, "bot");
    await bot.start();
    return async (path) => (await bot.upload(await openAsBlob(path), { filename: "twenty.bin" })).mediaId;
  },
  async sdk(url) {
    const client = await openClient(url, "bot");
    const subscribed = new Promise<void>((resolve) => {
      client.on("authenticated", resolve);
    });
    client.connect();
    await subscribed;
    return async (path) =>
      (await client.uploadMedia(await readFile(path), { type: "file", filename: "twenty.bin" })).media_id;
  },
  async bare(url) {
    const { WebSocket } = await import("ws");
    const ws = new WebSocket(url, { perMessageDeflate: false });
    await new Promise((resolve) => {
      ws.on("open", resolve);
    });
    const waiting = new Map<string, (body: Record<string, string>) => void>();
    ws.on("message", (data: Buffer) => {
      const { headers, errcode, body } = JSON.parse(data.toString()) as BareAck;
      if (errcode !== 0) throw new Error(`the gateway refused a frame: ${errcode}`);
      waiting.get(headers.req_id)?.(body ?? {});
      waiting.delete(headers.req_id);
    });
    let requests = 0;
    const request = (cmd: string, body: object): Promise<Record<string, string>> =>
      new Promise((resolve) => {
        const req_id = `r${++requests}`;
        waiting.set(req_id, resolve);
        ws.send(JSON.stringify({ cmd, headers: { req_id }, body }));
      });
    await request("aibot_subscribe", { bot_id: "bot", secret: "x" });
    return async (path) => {
      const bytes = await readFile(path);
      const md5 = createHash("md5").update(bytes).digest("hex");
      const total_chunks = Math.ceil(bytes.length / chunkBytes);
      const { upload_id } = await request("aibot_upload_media_init", {
        type: "file",
        filename: "twenty.bin",
        total_size: bytes.length,
        total_chunks,
        md5,
      });
      let index = 0;
      const sendSome = async (): Promise<void> => {
        while (index < total_chunks) {
          const chunk_index = index++;
          const base64_data = bytes
            .subarray(chunk_index * chunkBytes, (chunk_index + 1) * chunkBytes)
            .toString("base64");
          await request("aibot_upload_media_chunk", { upload_id, chunk_index, base64_data });
        }
      };
      await Promise.all(Array.from({ length: bareWindow }, sendSome));
      return (await request("aibot_upload_media_finish", { upload_id }))["media_id"] ?? "";
    };
  },
};

interface BareAck {
  readonly headers: { readonly req_id: string };
  readonly errcode: number;
  readonly body?: Record<string, string>;
}

const [role, argument = ""] = process.argv.slice(2);
if (role === "gateway") await gateway(argument);
else if (role !== undefined) await client(role as Sender, argument);
else {
  await main();
  process.exit(0);
}
