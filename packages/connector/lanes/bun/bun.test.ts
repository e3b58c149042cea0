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
import "../../test/service/store.test.ts";
import "../../test/service/service.test.ts";
import "../../test/service/delivery.test.ts";
import "../../test/service/process.test.ts";
import "../../test/service/receivers.test.ts";
import "../../test/service/signature.test.ts";
import "../../test/service/vault.test.ts";

runsOn("bun");
