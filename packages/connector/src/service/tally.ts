/**
 * A histogram for what happens with every frame: adding to it makes nothing, where prom-client's own makes an object and a
 * string each time. Its words for Prometheus are made when somebody looks.
 */
import type { Metric, Registry } from "prom-client";

/** One series: how many values were at most each bound, and their sum. */
export class Tally {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds` ascend; what is above the last one is counted as well. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  add(value: number): void {
    let at = 0;
    while (at < this.#bounds.length && value > this.#bounds[at]!) at++;
    this.#counts[at]!++;
    this.#sum += value;
  }

  /** The samples of the series, each bound's with all below it, as Prometheus wants them. */
  samples(name: string, labels: Readonly<Record<string, string>>): Sample[] {
    let count = 0;
    const buckets = [...this.#bounds, "+Inf"].map((le, at) => {
      count += this.#counts[at]!;
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.#sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  }
}

/** A line of a histogram. */
export interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Has a registry show a histogram that is kept elsewhere. */
export function showHistogram(registry: Registry, name: string, help: string, samples: () => Sample[]): void {
  // Of a metric a registry uses its name, and what `get` answers; its type wants a class of prom-client's.
  const shown = { name, get: async () => ({ name, help, type: "histogram", values: samples(), aggregator: "sum" }) };
  registry.registerMetric(shown as unknown as Metric);
}
