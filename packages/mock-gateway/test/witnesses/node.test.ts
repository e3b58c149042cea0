import { nodeOfficial } from "./clients.ts";
import { judge } from "./judge.ts";

judge(nodeOfficial);
