import { expect, it } from "vitest";
import { MistakeError } from "../src/mistake.ts";
import { installed } from "../src/optional.ts";

const sentence = { en: "npm install it", zh: "请安装" };

it("says what is to be installed where it is not there, and what is the matter where it is", async () => {
  for (const code of ["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"]) {
    const missing = Object.assign(new Error("no such package"), { code });
    const refusal: unknown = await installed(() => Promise.reject(missing), sentence).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(MistakeError);
    expect(refusal).toMatchObject({ sentence, cause: missing });
  }
  const broken = new SyntaxError("it cannot be read");
  await expect(installed(() => Promise.reject(broken), sentence)).rejects.toBe(broken);
  expect(await installed(() => Promise.resolve("there"), sentence)).toBe("there");
});
