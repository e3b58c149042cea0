// `.ci/run rust` builds the bot program beside this file and names it in OPENWS_RUST_WITNESS.
import { rustCommunity } from "../../test/witnesses/clients.ts";
import { judge } from "../../test/witnesses/judge.ts";

judge(rustCommunity);
