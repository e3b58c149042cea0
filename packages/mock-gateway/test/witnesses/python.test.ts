import { pythonCommunity, pythonFramework, pythonOfficial } from "./clients.ts";
import { judge } from "./judge.ts";

// Left out where the environments have not been made; `.ci/run python` makes them and runs the same.
judge(pythonOfficial);
judge(pythonCommunity);
judge(pythonFramework);
