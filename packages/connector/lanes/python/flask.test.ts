// The example receiver in Python. `.ci/run python` has made the environment.
import { receiver } from "../../../../tools/test/receivers.ts";

const python = process.env["OPENWS_PYTHON_FLASK"];
if (python === undefined) throw new Error("OPENWS_PYTHON_FLASK names no Python with flask; .ci/run python makes one");
receiver("Flask", python, ["examples/webhooks/flask_receiver.py"]);
