/**
 * What can go wrong, in words: the errors the packages throw.
 *
 * Invariants: no message ever holds a secret or what the gateway adds to an errmsg after its plain part (a hint, our IP
 * address); across packages one branches on `code`, never on `instanceof`.
 */

/**
 * The base of every error this product throws on purpose. `code` is a stable slug and the only thing to branch on;
 * `message` is for people and may be reworded in any release.
 */
export class OpenwsError extends Error {
  /** A stable slug, such as `usage`, `request-refused` or `connection-kicked`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/**
 * The caller's own mistake: a broken limit, a malformed argument, a call in the wrong state. Thrown synchronously, before
 * anything changed; repeating the same call fails the same way. The message says what is wrong, where, and what to do.
 */
export class UsageError extends OpenwsError {
  /** Where in the caller's frame or options the mistake is, such as `body.stream.content`; absent when it has no place. */
  readonly path?: string;

  constructor(message: string, { path, ...options }: { path?: string | undefined } & ErrorOptions = {}) {
    super("usage", message, options);
    this.name = "UsageError";
    if (path !== undefined) this.path = path;
  }
}
