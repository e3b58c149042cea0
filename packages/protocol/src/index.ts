/**
 * The WeCom AI-bot long connection as data and state machines: no clock, no socket, no entropy.
 * `./frames`, `./cards` and `./errors` can be had alone.
 */

// For applications
export * from "./frames.ts";
export * from "./cards.ts";
export * from "./errors.ts";

// For those who drive the machines themselves
export * from "./connection.ts";
export * from "./requests.ts";
export * from "./fleeting.ts";
export * from "./stream.ts";
export * from "./upload.ts";
export * from "./budget.ts";
export * from "./text.ts";
export * from "./backoff.ts";
