/**
 * Reads the golden frames of spec/vectors.
 *
 * Decides how a vector becomes the text on the wire: `text` as it stands, `frame` as JSON, after each
 * `{"$repeat": S, "times": N}` has become the string S, N times.
 */
import { readFileSync, readdirSync } from "node:fs";

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [member: string]: Json };

/** One golden frame, as its file has it. */
export interface Vector {
  readonly id: string;
  /** Who sends it. */
  readonly direction: "client" | "gateway";
  /** What the schemas of that direction say to it. */
  readonly valid: boolean;
  /** Refused by the strict schemas, and to be borne by a gateway all the same. */
  readonly tolerated?: true;
  readonly about?: string;
  readonly source: string;
  /** The valid vector from which this one differs in exactly one place. */
  readonly differsFrom?: string;
  /** Where the reason of the refusal must point. */
  readonly path?: string;
  /** What must be in the decoded frame; null stands for absent as well. */
  readonly decoded?: { [member: string]: Json };
  /** It can be read only with a bend that the decoder notes. */
  readonly repaired?: true;
  readonly frame?: Json;
  readonly text?: string;
}

/** A vector with its file, and the text to send. */
export interface LoadedVector extends Vector {
  readonly topic: string;
  readonly wire: string;
}

const folder = new URL("../../../spec/vectors/", import.meta.url);

/** All vectors, file by file, in their order. */
export function loadVectors(): LoadedVector[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .toSorted()
    .flatMap((name) => {
      const { vectors } = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as { vectors: Vector[] };
      return vectors.map((vector) => ({
        ...vector,
        topic: name.replace(".json", ""),
        wire: vector.text ?? JSON.stringify(expand(vector.frame ?? null)),
      }));
    });
}

/** Writes out the repetitions. */
export function expand(value: Json): Json {
  if (Array.isArray(value)) return value.map(expand);
  if (typeof value !== "object" || value === null) return value;
  if (typeof value["$repeat"] === "string") return value["$repeat"].repeat(Number(value["times"]));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, expand(member)]));
}
