import { describe, expect, test } from "vitest";
import { filenameOf, kindOf, sniff } from "../src/files.ts";
import { isPrivate } from "../src/media.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const png = bytes("\u0089PNG\r\n\u001a\n........");

describe("the name of a download", () => {
  test.for([
    ["attachment; filename*=UTF-8''%E4%B8%AD.pdf", "中.pdf"],
    ["attachment; filename*=utf-8''a%20b.txt; filename=\"x.txt\"", "a b.txt"],
    ["attachment; filename=\"x.txt\"; filename*=UTF-8''y.txt", "y.txt"],
    ["attachment; filename*=UTF-8'zh'100%25.txt", "100%.txt"],
    ["attachment; filename*=ISO-8859-1''na%EFve.txt", "naïve.txt"],
    ['attachment; filename="PC+D%26T+Strategy+2026.docx"', "PC D&T Strategy 2026.docx"],
    ['attachment; filename="100%.txt"', "100%.txt"],
    ['attachment; filename="a+b c.txt"', "a+b c.txt"],
    ['attachment; filename="say \\"hi\\".txt"', "say _hi_.txt"],
    ["attachment; filename=plain.txt", "plain.txt"],
    ["attachment;filename=plain.txt;size=3", "plain.txt"],
    ['attachment; filename="\u00e4\u00b8\u00ad\u00e6\u0096\u0087.txt"', "中文.txt"],
    ['attachment; filename="../../etc/passwd"', "passwd"],
    ['attachment; filename="..%2F..%2Fetc%2Fpasswd"', "passwd"],
    ["attachment; filename*=UTF-8''..%5C..%5Cboot.ini", "boot.ini"],
    ['attachment; filename="C:\\\\temp\\\\x.txt"', "x.txt"],
    ['attachment; filename=".."', "file"],
    ['attachment; filename=""', "file"],
    ['attachment; filename=".bashrc"', "bashrc"],
    ['attachment; filename="a%0D%0Ab%00.txt"', "ab.txt"],
    ["attachment; filename*=UTF-8''evil%E2%80%AEgpj.exe", "evilgpj.exe"],
    ['attachment; filename="con.txt"', "_con.txt"],
    ['attachment; filename="a<b>:c?.txt"', "a_b__c_.txt"],
    ["inline", "file"],
    [undefined, "file"],
  ] as [string | undefined, string][])("%o is %s", ([disposition, name]) => {
    expect(filenameOf(disposition, new Uint8Array())).toBe(name);
  });

  test("without one it is made of what the content is", () => {
    expect(filenameOf(undefined, png)).toBe("file.png");
    expect(filenameOf('attachment; filename="photo"', png)).toBe("photo.png");
    expect(filenameOf('attachment; filename="photo.dat"', png)).toBe("photo.dat");
  });

  test("a long one keeps its extension and every character whole", () => {
    const name = filenameOf(
      `attachment; filename*=UTF-8''${encodeURIComponent("𠮷".repeat(300))}.pdf`,
      new Uint8Array(),
    );
    expect(name.endsWith(".pdf")).toBe(true);
    expect(Array.from(name)).toHaveLength(80);
    expect(name.isWellFormed()).toBe(true);
  });
});

describe("what a file is", () => {
  test.for([
    [png, "image/png"],
    [bytes("\u00ff\u00d8\u00ff\u00e0"), "image/jpeg"],
    [bytes("GIF89a"), "image/gif"],
    [bytes("RIFF....WEBPVP8 "), "image/webp"],
    [bytes("RIFF....WAVEfmt "), "audio/wav"],
    [bytes("....ftypisom"), "video/mp4"],
    [bytes("....ftypqt  "), "video/quicktime"],
    [bytes("#!AMR\n"), "audio/amr"],
    [bytes("%PDF-1.7"), "application/pdf"],
    [bytes("hello"), undefined],
    [bytes(""), undefined],
    [bytes("\u0089PN"), undefined],
  ] as [Uint8Array, string | undefined][])("%s is %s", ([head, type]) => {
    expect(sniff(head)?.type).toBe(type);
  });

  test("its name decides, unless its content says otherwise, or the name says nothing", () => {
    expect(kindOf("a.png", png)).toEqual({ kind: undefined, name: "a.png" });
    expect(kindOf("a.PNG", bytes("<html>"))).toEqual({ kind: "file", name: "a.PNG" });
    expect(kindOf("a.mp4", bytes("....ftypqt  "))).toEqual({ kind: "file", name: "a.mp4" });
    expect(kindOf("a.txt", png)).toEqual({ kind: undefined, name: "a.txt" });
    expect(kindOf("photo", png)).toEqual({ kind: undefined, name: "photo.png" });
    expect(kindOf("", png)).toEqual({ kind: undefined, name: "file.png" });
    expect(kindOf("", bytes("hello"))).toEqual({ kind: "file", name: "file" });
  });
});

test.for([
  ["127.0.0.1", true],
  ["10.1.2.3", true],
  ["172.31.255.255", true],
  ["172.32.0.1", false],
  ["192.168.0.1", true],
  ["169.254.169.254", true],
  ["100.64.0.1", true],
  ["0.0.0.0", true],
  ["224.0.0.1", true],
  ["255.255.255.255", true],
  ["8.8.8.8", false],
  ["::1", true],
  ["::", true],
  ["fe80::1", true],
  ["fd00::1", true],
  ["ff02::1", true],
  ["::ffff:127.0.0.1", true],
  ["::ffff:8.8.8.8", false],
  ["::ffff:7f00:1", true],
  ["2606:4700::1111", false],
] as [string, boolean][])("%s is private: %s", ([address, expected]) => {
  expect(isPrivate(address)).toBe(expected);
});
