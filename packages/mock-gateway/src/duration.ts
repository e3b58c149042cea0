/** Durations as people write them. */

const units = { "": 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds of `250`, `250ms`, `10s`, `1.5m`, `24h`, `3d`; NaN for anything else. */
export const durationMs = (text: string): number => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  return match ? Number(match[1]) * units[(match[2] ?? "") as keyof typeof units] : Number.NaN;
};
