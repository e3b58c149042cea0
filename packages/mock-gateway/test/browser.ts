/** A real Chromium over its debugging protocol: just enough to open a page, run a script in it and take a picture. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";

/** Where Debian and others put it; the tests that need it are skipped when it is not there. */
export const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path),
);

export class Browser implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #ws: WebSocket;
  readonly #waiting = new Map<number, (result: Record<string, unknown>) => void>();
  #calls = 0;
  /** What the page wrote to its console as an error. */
  readonly errors: string[] = [];

  private constructor(child: ChildProcess, profile: string, ws: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#ws = ws;
    ws.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString()) as Reply;
      if (message.method === "Runtime.exceptionThrown") this.errors.push(JSON.stringify(message.params));
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message.result ?? {});
    });
  }

  static async open(url: string, width = 1200, height = 800): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), "openws-browser-"));
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
    const child = spawn(
      chromium ?? "chromium",
      [
        ...flags,
        "--disable-sync",
        "--lang=en",
        "--remote-debugging-port=0",
        `--user-data-dir=${profile}`,
        `--window-size=${width},${height}`,
        "about:blank",
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    const port = await new Promise<string>((resolve, reject) => {
      let text = "";
      child.stderr.on("data", (data: Buffer) => {
        text += data.toString();
        const found = /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)\//.exec(text);
        if (found) resolve(found[1]!);
      });
      child.once("exit", () => reject(new Error(`the browser did not start: ${text}`)));
    });
    const pages = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
      type: string;
      webSocketDebuggerUrl: string;
    }[];
    const ws = new WebSocket(pages.find(({ type }) => type === "page")!.webSocketDebuggerUrl);
    await new Promise((resolve) => {
      ws.once("open", resolve);
    });
    const browser = new Browser(child, profile, ws);
    await browser.call("Runtime.enable");
    await browser.call("Page.enable");
    await browser.call("Page.navigate", { url });
    return browser;
  }

  call(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = ++this.#calls;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#ws.send(JSON.stringify({ id, method, params }));
    });
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.call("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    return (result as { value?: unknown } | undefined)?.value;
  }

  /** Waits until an expression in the page is true. */
  async until(expression: string, withinMs = 15_000): Promise<void> {
    const end = performance.now() + withinMs;
    while (!(await this.evaluate(`Boolean(${expression})`))) {
      if (performance.now() > end)
        throw new Error(
          `not within ${withinMs} ms: ${expression}\n${String(await this.evaluate("document.body.innerText"))}`,
        );
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  }

  async picture(): Promise<Buffer> {
    const { data } = await this.call("Page.captureScreenshot");
    return Buffer.from(String(data), "base64");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => {
      this.#child.once("exit", resolve);
    });
    this.#ws.terminate();
    this.#child.kill("SIGKILL");
    await gone;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Reply {
  id?: number;
  result?: Record<string, unknown>;
  method?: string;
  params?: unknown;
}
