/** All cases, in the order in which they run: the first one shows whether the client starts at all. */
import type { Case } from "./check.ts";
import { answers } from "./cases/answers.ts";
import { cards } from "./cases/cards.ts";
import { chats } from "./cases/chats.ts";
import { handed } from "./cases/handed.ts";
import { hardships } from "./cases/hardships.ts";
import { inbound } from "./cases/inbound.ts";
import { line } from "./cases/line.ts";
import { media } from "./cases/media.ts";
import { reports } from "./cases/reports.ts";
import { subscribing } from "./cases/subscribing.ts";
import { uploads } from "./cases/uploads.ts";

/** Every case of the suite; what takes longest comes early, since all wait for each other only at their starts. */
export const cases: readonly Case[] = [
  ...subscribing,
  ...hardships,
  ...line,
  ...reports,
  ...handed,
  ...media,
  ...inbound,
  ...chats,
  ...cards,
  ...answers,
  ...uploads,
];
