import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { Chance } from "../src/chance.ts";
import { startRecorder, type RecordedLine } from "../src/cli/record.ts";
import { startGateway } from "../src/index.ts";
import { filler, Redactor } from "../src/redact.ts";
import { Client } from "./client.ts";

/** The members these tests look at, of whatever frame. */
interface Parsed {
  headers: unknown;
  errcode: number;
  errmsg: string;
  content: string;
  chatid: string;
  from: { userid: string };
  stream: { content: string };
  body: { mixed: { msg_item: [{ text: { content: string } }] }; response_url: string };
}
const parse = (text: string): Parsed => JSON.parse(text) as Parsed;

const redactor = (keepText = false, seed = 1) => {
  const chance = new Chance(seed);
  return new Redactor({ random: () => chance.next(), keepText });
};

describe("a redacted frame", () => {
  test("keeps the words of the protocol, the shape and each length, and nothing that is somebody's", () => {
    const text = JSON.stringify({
      cmd: "aibot_msg_callback",
      headers: { req_id: "Q7mC2xVtR9ekLw4ZbS0uHgAA" },
      body: {
        msgid: "CAIQ16HMzAYY8Pq3wEgASiM0AI=",
        aibotid: "aibBot0007",
        chattype: "group",
        chatid: "wrGroup99",
        from: { userid: "zhangsan" },
        create_time: 1790000000,
        msgtype: "mixed",
        mixed: { msg_item: [{ msgtype: "text", text: { content: "@Robot 你好, call 13800138000 👋" } }] },
        response_url: "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=AbCdEf123456",
        unheard_of: { of: "Mallory77", number: 31337001 },
      },
    });
    const made = redactor().frame(text);
    expect(Buffer.byteLength(made)).toBe(Buffer.byteLength(text));
    const { body, ...rest } = parse(made);
    expect(rest).toEqual({
      cmd: "aibot_msg_callback",
      headers: { req_id: expect.stringMatching(/^[A-Z]\d[a-z]/) as unknown },
    });
    expect(body).toMatchObject({ chattype: "group", create_time: 1790000000, msgtype: "mixed" });
    expect(body.mixed.msg_item[0].text.content).toBe("@Xxxxx 字字, xxxx 00000000000 😀");
    expect(body.response_url).toMatch(
      /^https:\/\/qyapi\.weixin\.qq\.com\/cgi-bin\/aibot\/response\?response_code=\w{12}$/,
    );
    for (const value of [
      "Q7mC2x",
      "CAIQ16",
      "Bot0007",
      "Group99",
      "zhangsan",
      "Robot",
      "AbCdEf",
      "Mallory",
      "31337001",
    ])
      expect(made).not.toContain(value);
  });

  test("is as broken, as spaced and as escaped as it was", () => {
    const made = redactor().frame(
      '{ "cmd" : "x", "text":{"content":"a\\/b\\n\\u0041\\u4f60\u0001\t"} , "n": 1.50 , junk',
    );
    expect(made).toBe('{ "cmd" : "x", "text":{"content":"x\\/x\\n\\u0058\\u5b57\u0001\t"} , "n": 1.50 , xxxx');
    expect(redactor().frame('{"secret":"abc')).toMatch(/^\{"secret":"(?!abc)[a-z]{3}$/);
    expect(redactor().frame("not json at all, 你好")).toBe("xxx xxxx xx xxx, 字字");
  });

  test("has equal placeholders for equal values in every member, and a stream that grew still grows", () => {
    const one = redactor();
    const frame = (content: string) =>
      parse(one.frame(JSON.stringify({ from: { userid: "lisi01" }, chatid: "lisi01", stream: { content } })));
    const [first, second] = [frame("Hello, wo"), frame("Hello, world")];
    expect(first.from.userid).toBe(first.chatid);
    expect(second.chatid).toBe(first.chatid);
    expect(second.stream.content.startsWith(first.stream.content)).toBe(true);
  });

  test("has the number of bytes of a file in the place of its contents", () => {
    expect(parse(redactor().frame('{"body":{"base64_data":"iVBORw0KGgo="}}'))).toEqual({
      body: { base64_data: { $repeat: "A", times: 12 } },
    });
  });

  test("keeps the gateway's words about an error, and none of what they quote", () => {
    const one = redactor();
    one.frame('{"from":{"userid":"zhangsan"}}');
    const { errcode, errmsg } = parse(
      one.frame(
        JSON.stringify({
          errcode: 846605,
          errmsg:
            "invalid req_id userid:zhangsan, hint: [1790000000123456789], from ip: 203.0.113.9, more info at https://open.work.weixin.qq.com/devtool/query?e=846605",
        }),
      ),
    );
    expect(errcode).toBe(846605);
    expect(errmsg).toMatch(
      /^invalid req_id userid:[a-z]{8}, hint: \[\d{19}\], from ip: \d+\.\d\.\d{3}\.\d, more info at https:/,
    );
    expect(errmsg).toContain("devtool/query?e=846605");
    expect(errmsg).not.toMatch(/zhangsan|1790000000123456789|203\.0\.113\.9/);
  });

  test("with keepText keeps what was written, but no address, no known id and no mention", () => {
    const one = redactor(true);
    one.frame('{"from":{"userid":"zhangsan"}}');
    const text = "@Robot tell zhangsan, a.b@example.org or 13800138000, see https://intra.example/x?token=t0k3n";
    const { content } = parse(one.frame(JSON.stringify({ content: text })));
    expect(content).toMatch(/^@Xxxxx tell [a-z]{8}, /);
    expect(content).toContain(" see https://");
    expect(content).not.toMatch(/zhangsan|example|13800138000|t0k3n/);
    expect(content).toHaveLength(text.length);
  });

  test("whatever the members, the spelling and the order, holds no secret, id, name or address of the input", () => {
    const id = fc.stringMatching(/^[A-Za-z0-9_=/-]{8,24}$/).filter((text) => /[A-Za-z0-9]{6}/.test(text));
    const name = fc.stringMatching(/^[A-Za-z\u4e00-\u9fff]{6,12}$/);
    const url = fc
      .tuple(id, id)
      .map(([path, code]) => `https://h${path.replace(/\W/g, "")}.example/${path}?sig=${code}`);
    const member = fc.constantFrom(
      "secret",
      "userid",
      "aeskey",
      "content",
      "url",
      "x_y",
      "title",
      "id",
      "errmsg",
      "filename",
    );
    const value = fc.oneof(id, name, url);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(member, value), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        (members, slashes) => {
          const one = redactor();
          for (const [key, text] of members) {
            // The gateway's own words stay: there only what was seen as an id before can be told from them.
            if (key === "errmsg") continue;
            const json = JSON.stringify({ body: { [key]: text, list: [text] } });
            const made = one.frame(slashes ? json.replaceAll("/", "\\/") : json);
            const plain = JSON.stringify(parse(made));
            expect(plain).not.toContain(JSON.stringify(text).slice(1, -1));
            for (const part of text.match(/[A-Za-z0-9\u4e00-\u9fff]{6,}/g) ?? [])
              if (filler(part) !== part) expect(plain).not.toContain(part);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** A recorder before `upstream`, and what it wrote. */
const recording = async (upstream: string, keepText = false) => {
  const written: string[] = [];
  const recorder = await startRecorder({
    upstream,
    listen: "127.0.0.1:0",
    keepText,
    write: (line) => written.push(line),
  });
  return {
    recorder,
    written,
    lines: () => written.slice(1).map((line) => JSON.parse(line) as RecordedLine),
    [Symbol.asyncDispose]: () => recorder.stop(),
  };
};

/** A server whose every connection a test holds in its hand. */
const bareServer = async () => {
  const server = createServer();
  const wss = new WebSocketServer({
    server,
    autoPong: false,
    handleProtocols: (offered) => [...offered].at(-1) ?? false,
  });
  const accepted: WebSocket[] = [];
  wss.on("connection", (ws) => {
    ws.on("error", () => undefined);
    accepted.push(ws);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    accepted,
    [Symbol.asyncDispose]: async () => {
      for (const ws of accepted) ws.terminate();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
};

describe("the recording proxy", () => {
  test("lets a bot work through it, and writes a log in which nothing of it can be found", async () => {
    await using gateway = await startGateway({ latencyMs: 0 });
    await using made = await recording(gateway.url);
    const bot = await Client.echo(made.recorder.url, "aibRealBot42", "Sup3rS3cret99");
    const told = await gateway.say(
      "aibRealBot42",
      { from: { userid: "zhangsan" }, msgtype: "text", text: { content: "what I never told" } },
      { waitMs: 5000 },
    );
    expect(told.reply).toBe("echo: what I never told");
    await gateway.say("aibRealBot42", { from: { userid: "zhangsan" }, msgtype: "image", image: {} });
    const { body } = await (async () => {
      for (;;) {
        const frame = await bot.next();
        if (frame.body?.image) return frame;
      }
    })();
    const all = made.written.join("\n");
    const secrets = [
      "aibRealBot42",
      "Sup3rS3cret99",
      "zhangsan",
      "never told",
      told.reqId,
      told.msgid,
      body.image.aeskey,
    ];
    for (const secret of [...secrets, new URL(body.image.url).pathname.split("/").at(-1)!])
      expect(all).not.toContain(secret);
    expect(parse(made.written[0]!)).toMatchObject({ openwsRecording: 1, keepText: false });

    const [subscribe, ack, callback, reply] = made
      .lines()
      .filter(({ what }) => what === "message")
      .map(({ text }) => parse(text!)) as [Parsed, Parsed, Parsed, Parsed];
    expect(subscribe).toMatchObject({ cmd: "aibot_subscribe" });
    expect(ack).toEqual({ headers: subscribe.headers, errcode: 0, errmsg: "ok" });
    expect(reply.headers).toEqual(callback.headers);
    bot.close();
  });

  test("passes text and binary as they are, pings and pongs to the other end, sub-protocol and path", async () => {
    await using far = await bareServer();
    await using made = await recording(far.url);
    const near = new WebSocket(`${made.recorder.url}/a/path?q=1`, ["one", "two"], { autoPong: false });
    await once(near, "open");
    const [upstream] = far.accepted as [WebSocket];
    expect([near.protocol, upstream.protocol]).toEqual(["two", "two"]);

    const text = '{ "a" : "\u0001\\/" }';
    const bytes = Buffer.from([0xff, 0x00, 0xfe]);
    for (const [from, to] of [
      [near, upstream],
      [upstream, near],
    ] as const) {
      const got: [string, boolean][] = [];
      const all = new Promise<void>((resolve) => {
        to.on("message", (data: Buffer, binary: boolean) => {
          if (got.push([data.toString("latin1"), binary]) === 2) resolve();
        });
      });
      from.send(text);
      from.send(bytes);
      await all;
      expect(got).toEqual([
        [text, false],
        [bytes.toString("latin1"), true],
      ]);
      const pinged = once(to, "ping");
      from.ping("beat");
      expect(String((await pinged)[0])).toBe("beat");
      const ponged = once(from, "pong");
      to.pong("beat");
      expect(String((await ponged)[0])).toBe("beat");
    }
    expect(made.lines().map(({ dir, what, bytes: size }) => `${dir} ${what} ${size ?? ""}`.trim())).toEqual([
      "in open",
      "in message 15",
      "in message 3",
      "in ping 4",
      "out pong 4",
      "out message 15",
      "out message 3",
      "out ping 4",
      "in pong 4",
    ]);
    expect(made.lines().filter(({ binary }) => binary)).toMatchObject([{ bytes: 3 }, { bytes: 3 }]);
    near.terminate();
  });

  test("passes a close with its code, a close without one, and a cut as a cut, in both directions", async () => {
    await using far = await bareServer();
    await using made = await recording(far.url);
    for (const ending of [4001, 1005, 1006]) {
      for (const byBot of [true, false]) {
        const near = new WebSocket(made.recorder.url);
        near.on("error", () => undefined);
        await once(near, "open");
        const upstream = far.accepted.at(-1)!;
        const [from, to] = byBot ? [near, upstream] : [upstream, near];
        const ended = once(to, "close");
        if (ending === 1006) from.terminate();
        else if (ending === 1005) from.close();
        else from.close(ending, "why");
        expect({ byBot, code: (await ended)[0] as number }).toEqual({ byBot, code: ending });
        const last = made.lines().at(-1);
        expect(last).toMatchObject({ dir: byBot ? "in" : "out", what: ending === 1006 ? "cut" : "close" });
        expect(last?.code).toBe(ending === 1006 ? undefined : ending);
      }
    }
  });

  test("is as silent as a gateway that fell silent: nobody answers the bot's ping for it", async () => {
    await using far = await bareServer();
    await using made = await recording(far.url);
    const near = new WebSocket(made.recorder.url);
    await once(near, "open");
    far.accepted[0]!.pause();
    let answered = false;
    near.on("pong", () => (answered = true));
    near.ping();
    near.send("{}");
    // Each side's event loop has turned many times when an answer of another connection is back.
    const other = new WebSocket(made.recorder.url);
    await once(other, "open");
    const echoed = once(other, "message");
    far.accepted[1]!.on("message", () => far.accepted[1]!.send("{}"));
    other.send("{}");
    await echoed;
    expect(answered).toBe(false);
    expect(near.readyState).toBe(WebSocket.OPEN);
    expect(made.lines().filter(({ connection, dir }) => connection === 1 && dir === "out")).toEqual([]);
    near.terminate();
    other.terminate();
  });

  test("answers a refused upgrade with the gateway's status, and 502 when there is no gateway", async () => {
    const refusing = createServer().on("upgrade", (_request, socket: Socket) => {
      socket.end("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    refusing.listen(0, "127.0.0.1");
    await once(refusing, "listening");
    const { port } = refusing.address() as AddressInfo;
    await using made = await recording(`ws://127.0.0.1:${port}`);
    const statusOf = async (url: string): Promise<number> => {
      const near = new WebSocket(url);
      near.on("error", () => undefined);
      const [, response] = (await once(near, "unexpected-response")) as [unknown, { statusCode: number }];
      return response.statusCode;
    };
    expect(await statusOf(made.recorder.url)).toBe(503);
    expect(made.lines()).toMatchObject([{ what: "refused", code: 503 }]);
    refusing.close();
    await once(refusing, "close");
    expect(await statusOf(made.recorder.url)).toBe(502);
  });
});
