import fc from "fast-check";
import { expect, test } from "vitest";
import { FleetingMap } from "@openws/protocol";

test("it holds what a Map would, in the same order, however much comes and goes", () => {
  const step = fc.oneof(
    { weight: 50, arbitrary: fc.record({ what: fc.constantFrom("set", "delete"), key: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("clear"), key: fc.constant(0) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(1_200), (steps, churn) => {
      const [map, model] = [new FleetingMap<number, number>(), new Map<number, number>()];
      // So that the moment at which the entries move falls among the steps, or does not.
      for (let n = 0; n < churn; n++) {
        map.set(-1, n);
        map.delete(-1);
      }
      for (const [n, { what, key }] of steps.entries()) {
        if (what === "set") {
          map.set(key, n);
          model.set(key, n);
        } else if (what === "delete") {
          map.delete(key);
          model.delete(key);
        } else {
          map.clear();
          model.clear();
        }
        expect(map.size).toBe(model.size);
        expect(map.get(key)).toBe(model.get(key));
        expect(map.has(key)).toBe(model.has(key));
      }
      expect([...map]).toEqual([...model]);
      expect([...map.keys()]).toEqual([...model.keys()]);
      expect([...map.values()]).toEqual([...model.values()]);
    }),
  );
});

test("with more entries than deletions it does not move them each time", () => {
  const map = new FleetingMap<number, number>();
  for (let n = 0; n < 5_000; n++) map.set(n, n);
  for (let n = 0; n < 4_999; n++) map.delete(n);
  expect([...map]).toEqual([[4_999, 4_999]]);
});
