/** How a delivery leaves: one POST, as a port. Knows no webhook. */
import { OpenwsError } from "@openws/protocol";

/** One request. */
export interface PostRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** For name, connection, request and the head of the response together. */
  readonly timeoutMs: number;
  /** Whether the URL may lead to an address that is not of the public internet. */
  readonly allowPrivate: boolean;
}

/** The head of a response, and its body to be read or let go. */
export interface PostAnswer {
  readonly status: number;
  /** By its name in lower case. */
  header(name: string): string | undefined;
  /** Ends, or throws, when the response does. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Lets go of a body that is not read to its end. */
  discard(): void;
}

/** Sends one request, follows no redirect. Rejects with `PostError`. */
export type Post = (request: PostRequest) => Promise<PostAnswer>;

/** There was no response; the message says why in a sentence that holds no URL's query and no header. */
export class PostError extends OpenwsError {
  constructor(message: string, options?: ErrorOptions) {
    super("post", message, options);
    this.name = "PostError";
  }
}
