import { beforeEach, describe, expect, test } from "vitest";
import { leftOut } from "../../../tools/left-out.ts";
import { startGateway } from "../src/index.ts";
import { Browser, chromium } from "./browser.ts";
import { Client } from "./client.ts";

describe("the page, in a real browser", () => {
  beforeEach((context) => {
    if (chromium === undefined) leftOut(context, "the page in a browser", "no Chromium is installed");
  });

  test("says how to connect a bot, lets a user talk to it, shows the answer grow, and says why the bot is offline", async () => {
    await using gateway = await startGateway({ latencyMs: 0 });
    await using browser = await Browser.open(gateway.consoleUrl);
    await browser.until(`document.body.innerText.includes("export WECOM_BOT_WS_URL=${gateway.url}")`);

    const client = await Client.subscribe(gateway.url, "my-bot");
    await browser.until(`document.querySelector("#state").textContent === "subscribed"`);
    await browser.evaluate(`(() => {
      const text = document.querySelector("textarea");
      text.focus();
      text.value = "hello <b>bot</b>";
      text.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
    })()`);
    const { headers, body } = await client.next();
    expect(body.text.content).toBe("hello <b>bot</b>");
    await browser.until(`document.querySelector(".item.user .text")?.textContent === "hello <b>bot</b>"`);

    const shows = (text: string, open: boolean) =>
      browser.until(
        `document.querySelector(".item:not(.user) .text")?.textContent === "${text}" && ${open} === (document.querySelector(".item.open") !== null)`,
      );
    client.reply(headers.req_id, "s", "thinking", false);
    await shows("thinking", true);
    client.reply(headers.req_id, "s", "thinking done", true);
    await shows("thinking done", false);

    await browser.evaluate(`document.querySelector("#kick").click()`);
    await browser.until(`document.querySelector("#state").textContent.startsWith("offline: kicked")`);
    await browser.evaluate(`document.querySelector("#language").click()`);
    await browser.until(`document.querySelector("#state").textContent.startsWith("离线")`);
    expect(browser.errors).toEqual([]);
    client.close();
  });

  test("fits a phone: nothing is wider than the window", async () => {
    await using gateway = await startGateway({ latencyMs: 0 });
    const client = await Client.subscribe(gateway.url);
    await gateway.say("bot", "a".repeat(400));
    await using browser = await Browser.open(gateway.consoleUrl);
    await browser.call("Emulation.setDeviceMetricsOverride", {
      width: 360,
      height: 700,
      deviceScaleFactor: 1,
      mobile: true,
    });
    await browser.until(`document.querySelector(".item.user") !== null`);
    expect(await browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")).toBe(true);
    client.close();
  });
});
