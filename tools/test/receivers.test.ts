// The example receivers of webhooks, as their readers run them. The one in Python is tried by `.ci/run python`.
import { receiver } from "./receivers.ts";

receiver("Hono", process.execPath, ["examples/webhooks/hono-receiver.ts"]);
receiver("Express", process.execPath, ["examples/webhooks/express-receiver.ts"]);
