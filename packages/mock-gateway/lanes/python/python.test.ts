// The same as test/witnesses/python.test.ts, where nothing may be left out: `.ci/run python` has made the environments.
import { pythonCommunity, pythonFramework, pythonOfficial } from "../../test/witnesses/clients.ts";
import { judge } from "../../test/witnesses/judge.ts";

judge(pythonOfficial);
judge(pythonCommunity);
judge(pythonFramework);
