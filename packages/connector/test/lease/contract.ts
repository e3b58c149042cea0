/** What every place of a lease keeps to, whatever it is kept in. */
import { expect, it, onTestFinished } from "vitest";
import type { LeasePlace } from "../../src/lease/lease.ts";
import { openLease } from "../../src/lease/open.ts";

let names = 0;

/** The tests; `address` gives the address of a lease of that name, which no test before has used. */
export function keepsTheContract(address: (name: string) => string): void {
  const fresh = (): string => `lease-${process.pid}-${++names}`;
  const open = async (name: string): Promise<LeasePlace> => {
    const place = await openLease(address(name));
    onTestFinished(() => place.close());
    return place;
  };

  it("holds nothing at first, then what was written last", async () => {
    const place = await open(fresh());
    expect(await place.read()).toBeUndefined();
    expect(await place.swap(undefined, "one")).toBe(true);
    expect(await place.read()).toBe("one");
    expect(await place.swap("one", '{"fence":2,"holder":"ü 字"}')).toBe(true);
    expect(await place.read()).toBe('{"fence":2,"holder":"ü 字"}');
  });

  it("writes nothing over what is not what was expected", async () => {
    const place = await open(fresh());
    expect(await place.swap("something", "one")).toBe(false);
    expect(await place.read()).toBeUndefined();
    await place.swap(undefined, "one");
    expect(await place.swap(undefined, "two")).toBe(false);
    expect(await place.swap("another", "two")).toBe(false);
    expect(await place.read()).toBe("one");
  });

  it("is one place for all who open it, and another for each name", async () => {
    const name = fresh();
    const [a, b, other] = await Promise.all([open(name), open(name), open(fresh())]);
    await a.swap(undefined, "of a");
    expect(await b.read()).toBe("of a");
    expect(await other.read()).toBeUndefined();
    expect(await b.swap("of a", "of b")).toBe(true);
    expect(await a.swap("of a", "of a again")).toBe(false);
    expect(await a.read()).toBe("of b");
  });

  it("lets one of many win, each time", async () => {
    const name = fresh();
    const places = await Promise.all(Array.from({ length: 5 }, () => open(name)));
    let expected: string | undefined;
    for (let round = 0; round < 20; round++) {
      const wins = await Promise.all(
        places.map((place, at) => place.swap(expected, `${round} by ${at}`).catch(() => false)),
      );
      expect(wins.filter((won) => won)).toHaveLength(1);
      expected = await places[0]!.read();
      expect(expected).toBe(`${round} by ${wins.indexOf(true)}`);
    }
  });
}
