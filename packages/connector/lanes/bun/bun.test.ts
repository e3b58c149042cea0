import { runsOn } from "../socket-suite.ts";
import "../../test/driver.test.ts";
import "../../test/bot.test.ts";
import "../../test/behaviours/line.test.ts";
import "../../test/behaviours/inbound.test.ts";
import "../../test/behaviours/outbound.test.ts";
import "../../test/behaviours/upload.test.ts";
import "../../test/gateway.test.ts";
import "../../test/media.test.ts";
import "../../test/files.test.ts";

runsOn("bun");
