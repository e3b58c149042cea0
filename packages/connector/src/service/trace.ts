/**
 * Traces as the W3C has them (www.w3.org/TR/trace-context): who began one, and how one that was given is read. Decides
 * nothing of where they go: they are part of an entry. Runs on every runtime.
 *
 * Invariant: what leaves here is a `traceparent` of version 00 that is valid; of a caller's words nothing else is kept.
 */

/** A trace that begins here, sampled. */
export function newTrace(): string {
  return `00-${chance(16)}-${chance(8)}-01`;
}

/**
 * A caller's `traceparent`; undefined where there is none, or one that cannot be read: then it counts as not given, as the
 * recommendation asks. One of a later version is read as far as this one goes.
 */
export function readTrace(header: string | undefined): string | undefined {
  const parts =
    /^(?<version>[0-9a-f]{2})-(?<trace>[0-9a-f]{32})-(?<parent>[0-9a-f]{16})-(?<flags>[0-9a-f]{2})(?<more>-.*)?$/.exec(
      header ?? "",
    )?.groups;
  if (parts === undefined || parts["version"] === "ff") return undefined;
  if (parts["version"] === "00" && parts["more"] !== undefined) return undefined;
  const { trace = "", parent = "", flags = "" } = parts;
  return isZero(trace) || isZero(parent) ? undefined : `00-${trace}-${parent}-${flags}`;
}

/** The id of the whole trace, as logs have it beside a line. */
export function traceIdOf({ traceparent }: { readonly traceparent?: string | undefined }): string | undefined {
  return traceparent?.split("-")[1];
}

function isZero(digits: string): boolean {
  return !/[^0]/.test(digits);
}

/** Random bytes are had in pages: asking for a few at a time costs more than all else about a trace. */
const page = new Uint8Array(6_144);
let used = page.length;

/** Hexadecimal digits by chance, never all zero. */
function chance(bytes: number): string {
  if (used + bytes > page.length) {
    crypto.getRandomValues(page);
    used = 0;
  }
  let digits = "";
  for (const end = used + bytes; used < end; used++) digits += hexOf[page[used]!]!;
  return isZero(digits) ? chance(bytes) : digits;
}

const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
